//! Questions and answers over time: who is gone, and who is cut off himself.

use super::*;
use crate::clock;

/// Machines that are asked every two seconds, one after the other within those.
struct Bench {
    reachability: Reachability,
    start: Instant,
    machines: Vec<(GroupKey, String)>,
}

impl Bench {
    /// Machines as `namespace/group/address`.
    fn new(machines: &[&str]) -> Self {
        let parse = |machine: &&str| {
            let mut parts = machine.split('/');
            let mut part = || parts.next().unwrap().to_owned();
            (GroupKey::new(part(), part()), part())
        };
        let machines = machines.iter().map(parse).collect();
        Self { reachability: Reachability::default(), start: clock::monotonic(), machines }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    /// Asks all from one second to another; an address answers when the rule says so.
    fn asks(&self, from: u64, to: u64, answers: impl Fn(&str, u64) -> bool) {
        let spread = 2000 / u64::try_from(self.machines.len()).unwrap();
        for turn in 0.. {
            let begins = from * 1000 + turn * 2000;
            if begins >= to * 1000 {
                break;
            }
            for (offset, (group, ip)) in (0..).zip(&self.machines) {
                let millis = begins + offset * spread;
                let ips: Vec<String> =
                    self.machines.iter().filter(|(of, _)| of == group).map(|(_, ip)| ip.clone()).collect();
                self.reachability.probing(group, &ips, true, self.at(millis));
                self.reachability.record_connection(group, ip, answers(ip, millis / 1000), self.at(millis));
            }
        }
    }

    fn of(&self, machine: usize, second: u64) -> GroupReachability {
        self.reachability.of(&self.machines[machine].0, self.at(second * 1000))
    }

    fn reach(&self, machine: usize, second: u64) -> Reach {
        self.of(machine, second).reach
    }
}

#[test]
fn a_machine_is_gone_after_five_seconds_beside_one_of_its_own_group_that_is_heard() {
    let bench = Bench::new(&["n/g/1", "n/g/2"]);
    bench.asks(0, 10, |_, _| true);
    bench.asks(10, 16, |ip, _| ip != "1");
    assert_eq!(bench.of(0, 12), GroupReachability::default());
    assert_eq!(bench.of(0, 15), GroupReachability { no_sign: vec!["1".to_owned()], reach: Reach::Reachable });
    bench.asks(16, 18, |_, _| true);
    assert_eq!(bench.of(0, 18), GroupReachability::default());
}

#[test]
fn a_group_is_silent_after_five_seconds_beside_another_that_is_heard() {
    let bench = Bench::new(&["n/g/1", "n/g/2", "n/h/3"]);
    bench.asks(0, 10, |_, _| true);
    bench.asks(10, 16, |ip, _| ip == "3");
    let gone = GroupReachability { no_sign: vec!["1".to_owned(), "2".to_owned()], reach: Reach::Silent };
    assert_eq!((bench.of(0, 15), bench.of(2, 15)), (gone, GroupReachability::default()));
}

#[test]
fn nobody_is_gone_while_nobody_is_reachable() {
    for machines in [&["n/g/1", "n/g/2", "n/h/3", "n/h/4"][..], &["n/g/1", "n/g/2"], &["n/g/1"]] {
        for cut in 10..13 {
            let bench = Bench::new(machines);
            bench.asks(0, cut, |_, _| true);
            bench.asks(cut, 700, |_, _| false);
            for second in cut..700 {
                let heard = bench.of(0, second);
                assert_eq!(heard.no_sign, [""; 0], "at {second} s");
                assert_ne!(heard.reach, Reach::Silent, "at {second} s");
            }
            assert_eq!(bench.reach(0, cut + 6), Reach::Unsure);
            assert_eq!(bench.reach(0, cut + 11), Reach::AllSilent);
        }
    }
}

/// Whoever is heard first after a cut of any length is no witness of what was during the cut.
#[test]
fn nobody_is_gone_when_a_cut_ends() {
    for length in 1..20 {
        let bench = Bench::new(&["n/g/1", "n/g/2", "n/h/3", "n/h/4"]);
        let heard = |second: u64| second < 10 || second >= 10 + length;
        for second in (0..60).step_by(2) {
            bench.asks(second, second + 2, |_, now| heard(now));
            for machine in [0, 2] {
                let observed = bench.of(machine, second + 2);
                assert_eq!(observed.no_sign, [""; 0], "cut for {length} s, at {second} s");
                assert_ne!(observed.reach, Reach::Silent, "cut for {length} s, at {second} s");
            }
        }
        assert_eq!(bench.reach(0, 60), Reach::Reachable);
    }
}

#[test]
fn a_replica_that_has_never_heard_anybody_is_unsure_before_it_says_that_all_are_silent() {
    let bench = Bench::new(&["n/g/1", "n/h/2"]);
    bench.asks(0, 12, |_, _| false);
    assert_eq!((bench.reach(0, 1), bench.reach(0, 11)), (Reach::Unsure, Reach::AllSilent));
    let other = Bench::new(&["n/g/1", "n/h/2"]);
    other.asks(0, 2, |ip, _| ip == "2");
    assert_eq!(other.reach(0, 2), Reach::Unsure);
    other.asks(2, 12, |ip, _| ip == "2");
    assert_eq!(other.reach(0, 11), Reach::Silent);
    assert_eq!(other.of(0, 11).no_sign, [""; 0], "a policy may forbid the port");
}

/// A policy shuts this program out of one namespace.
#[test]
fn a_witness_of_another_namespace_says_nothing() {
    let bench = Bench::new(&["n/g/1", "m/h/2"]);
    bench.asks(0, 10, |_, _| true);
    bench.asks(10, 30, |ip, _| ip == "2");
    assert_eq!((bench.of(0, 30).no_sign.len(), bench.reach(0, 30)), (0, Reach::AllSilent));
    assert_eq!(bench.reachability.no_reply_for(bench.at(30_000)), None, "a standby would hear no more");
}

#[test]
fn answers_of_dashboard_or_engine_count_where_the_port_is_forbidden() {
    let bench = Bench::new(&["n/g/1"]);
    bench.asks(0, 20, |_, _| false);
    bench.reachability.record_answer(&bench.machines[0].0, true, bench.at(19_000));
    assert_eq!(bench.reach(0, 20), Reach::Reachable);
    bench.reachability.record_answer(&bench.machines[0].0, false, bench.at(22_000));
    assert_eq!(bench.reach(0, 30), Reach::AllSilent);
}

#[test]
fn an_address_that_is_not_of_the_group_any_more_is_forgotten() {
    let bench = Bench::new(&["n/g/1", "n/g/2"]);
    bench.asks(0, 10, |_, _| true);
    let group = &bench.machines[0].0;
    bench.reachability.probing(group, &["2".to_owned()], true, bench.at(10_000));
    bench.reachability.record_connection(group, "2", true, bench.at(19_000));
    assert_eq!(bench.of(0, 20), GroupReachability::default());
    bench.reachability.forget(group);
    assert_eq!(bench.of(0, 60), GroupReachability::default());
}

#[test]
fn the_silence_of_all_pods_counts_from_the_last_sign_of_well_ones() {
    let bench = Bench::new(&["n/g/1", "m/h/2"]);
    let no_reply =
        |second: u64| bench.reachability.no_reply_for(bench.at(second * 1000)).map(|length| length.as_secs());
    assert_eq!(no_reply(100), None, "nobody is asked");
    bench.asks(0, 10, |_, _| true);
    assert_eq!(no_reply(10), None);
    bench.asks(10, 40, |_, _| false);
    assert_eq!((no_reply(15), no_reply(40)), (None, Some(31)));
    for (group, ip) in &bench.machines {
        bench.reachability.probing(group, std::slice::from_ref(ip), false, bench.at(40_000));
    }
    assert_eq!(no_reply(41), None, "Kubernetes holds none of them well");
    assert_eq!(no_reply(100), None, "nobody has asked for a while");
}

#[test]
fn a_group_is_clear_while_all_answer_that_ever_did() {
    let bench = Bench::new(&["n/g/1", "n/g/2"]);
    let clear = |second: u64| bench.reachability.is_clear(&bench.machines[0].0, bench.at(second * 1000));
    assert!(!clear(0), "it was not asked yet");
    bench.asks(0, 10, |ip, _| ip == "1");
    assert!(clear(10), "a policy forbids the port of the other");
    bench.asks(10, 12, |_, _| true);
    assert!(clear(12));
    bench.asks(12, 14, |ip, _| ip == "1");
    assert!(!clear(14), "one has missed a question");
}

/// Machines of which the connections to some are kept, as the kernel and `listen` treat them: the kernel asks an idle one every two seconds,
/// each at a moment of its own, and gives up a second later. A second after that, and then every two, it is asked as all others are.
struct Kept<'a> {
    bench: &'a Bench,
    /// When the kernel last heard it, while its connection is kept.
    heard: Vec<Option<u64>>,
    /// When it is asked next.
    next: Vec<u64>,
    may_hold: &'a [usize],
}

impl<'a> Kept<'a> {
    fn new(bench: &'a Bench, may_hold: &'a [usize]) -> Self {
        for (group, ip) in &bench.machines {
            let ips: Vec<String> =
                bench.machines.iter().filter(|(of, _)| of == group).map(|(_, ip)| ip.clone()).collect();
            bench.reachability.probing(group, &ips, true, bench.start);
            bench.reachability.record_connection(group, ip, true, bench.start);
        }
        let count = bench.machines.len();
        let heard = (0..count).map(|machine| may_hold.contains(&machine).then_some(0)).collect();
        Self { bench, heard, next: (0..count).map(|machine| 300 * machine as u64).collect(), may_hold }
    }

    /// Until this moment an address answers when the rule says so. `each` is called every 100 ms.
    fn run(mut self, until: u64, answers: impl Fn(&str, u64) -> bool, each: impl Fn(u64)) {
        let Bench { reachability, machines, .. } = self.bench;
        for now in (0..until).step_by(100) {
            let at = self.bench.at(now);
            for (machine, (group, ip)) in machines.iter().enumerate() {
                if let Some(last) = self.heard[machine] {
                    if now == last + 2000 && answers(ip, now) {
                        self.heard[machine] = Some(now);
                    } else if now == last + 3000 {
                        self.heard[machine] = None;
                        reachability.record_silence(group, ip, self.bench.at(last));
                        self.next[machine] = now + 1000;
                    }
                }
                if now < self.next[machine] {
                    continue;
                }
                self.next[machine] = now + 2000;
                if self.heard[machine].is_some() {
                    reachability.record_held(group, ip, at);
                } else {
                    reachability.record_connection(group, ip, answers(ip, now), at);
                    if answers(ip, now) && self.may_hold.contains(&machine) {
                        self.heard[machine] = Some(now);
                    }
                }
            }
            each(now);
        }
    }
}

#[test]
fn a_machine_whose_connection_was_kept_is_gone_no_later_than_one_that_is_asked() {
    for lost in (10_000..12_000).step_by(100) {
        let bench = Bench::new(&["n/g/1", "n/g/2", "n/h/3"]);
        let each = |now| {
            let gone = bench.reachability.of(&bench.machines[0].0, bench.at(now)).no_sign;
            assert!(now >= lost + 3000 || gone.is_empty(), "lost at {lost}, gone at {now}");
            assert!(now < lost + 5000 || gone == ["1"], "lost at {lost}, and there at {now}");
        };
        Kept::new(&bench, &[0]).run(lost + 20_000, |ip, now| ip != "1" || now < lost, each);
        assert!(bench.reachability.is_clear(&bench.machines[2].0, bench.at(lost + 20_000)));
    }
}

#[test]
fn nobody_whose_connection_is_kept_is_gone_when_a_cut_ends() {
    let cuts = || {
        (10_000..12_000)
            .step_by(100)
            .flat_map(|cut| (500..8_000).step_by(100).map(move |length| (cut, length)))
    };
    for may_hold in [&[0, 2][..], &[0], &[0, 1, 2]] {
        for (cut, length) in cuts() {
            let (bench, until) = (Bench::new(&["n/g/1", "n/g/2", "n/h/3", "n/h/4"]), cut + length);
            let each = |now| {
                for (group, _) in &bench.machines {
                    let said = bench.reachability.of(group, bench.at(now));
                    assert_eq!(said.no_sign, [""; 0], "cut from {cut} to {until}, at {now}, {may_hold:?}");
                    assert_ne!(
                        said.reach,
                        Reach::Silent,
                        "cut from {cut} to {until}, at {now}, {may_hold:?}"
                    );
                }
            };
            Kept::new(&bench, may_hold).run(until + 8_000, |_, now| now < cut || now >= until, each);
            assert_eq!(bench.of(0, (until + 8_000) / 1000).reach, Reach::Reachable);
        }
    }
}

#[test]
fn the_first_four_groups_of_each_namespace_are_asked() {
    let bench = Bench::new(&["m/z/0", "n/a/1", "n/b/2", "n/c/3", "n/d/4", "n/e/5", "o/a/6"]);
    bench.asks(0, 2, |_, _| true);
    let held = bench.machines.iter().filter(|(group, _)| bench.reachability.may_hold(group));
    assert_eq!(held.map(|(_, ip)| &**ip).collect::<Vec<_>>(), ["5"]);
    bench.reachability.forget(&bench.machines[1].0);
    assert!(!bench.reachability.may_hold(&bench.machines[5].0), "it comes in the place of one that is gone");
}
