//! Routers with requests that come and end.

use proptest::prelude::{
    Just, Strategy as Draw, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::*;
use crate::PromptHasher;

const NOW: Duration = Duration::from_secs(100);

fn router(names: &[&str]) -> Router {
    let mut router = Router::default();
    set(&mut router, names);
    router
}

fn set(router: &mut Router, names: &[&str]) {
    router.set_endpoints(names.iter().map(|name| (Arc::from(*name), Arc::from(format!("{name}:8000")))));
}

fn request(text: &str) -> Request {
    let mut hasher = PromptHasher::new(1, b"");
    hasher.push(text.repeat(300).as_bytes());
    Request { prompt: hasher.finish(), session: None }
}

fn strategy(text: &str) -> Strategy {
    text.parse().unwrap()
}

/// Sends a request to where it belongs.
fn send(router: &mut Router, request: &Request, strategy: &Strategy, random: u64) -> (Arc<str>, Ticket) {
    let id = router.pick(request, strategy, NOW, random).unwrap().swap_remove(0).id;
    let ticket = router.begin(&id, &request.prompt);
    (id, ticket)
}

#[test]
fn a_conversation_goes_where_it_began_while_that_is_no_busier_than_it_is_long() {
    let mut router = router(&["a", "b", "c"]);
    let strategy = Strategy::default();
    let (first, ticket) = send(&mut router, &request("once "), &strategy, 1);
    router.end(ticket, None, NOW);
    for random in 0..20 {
        let (again, ticket) = send(&mut router, &request("once "), &strategy, random);
        assert_eq!(again, first);
        router.end(ticket, None, NOW);
    }
    // Three of them at once are more work there than reading the prompt elsewhere.
    let held: Vec<_> = (0..3).map(|random| send(&mut router, &request("once "), &strategy, random)).collect();
    assert!(held.iter().any(|(id, _)| *id != first));
}

#[test]
fn prefixes_alone_build_no_hot_spot() {
    let mut router = router(&["a", "b", "c", "d"]);
    let strategy = strategy("prefix-cache");
    let mut sent = BTreeMap::new();
    let mut tickets = vec![];
    for random in 0..100 {
        let (id, ticket) = send(&mut router, &request("all begin alike "), &strategy, random);
        *sent.entry(id).or_insert(0_u32) += 1;
        tickets.push(ticket);
    }
    assert_eq!(sent.len(), 4);
    assert!(sent.values().all(|requests| *requests <= 32), "{sent:?}");
}

#[test]
fn an_endpoint_that_failed_comes_last_for_a_while_and_has_lost_its_cache() {
    let mut router = router(&["a", "b"]);
    let ticket = router.begin(&Arc::from("a"), &request("x").prompt);
    let first = |router: &mut Router, now: Duration| -> (Arc<str>, usize) {
        let choices = router.pick(&request("x"), &Strategy::default(), now, 3).unwrap();
        (choices[0].id.clone(), choices.len())
    };
    router.end(ticket, None, NOW);
    assert_eq!(first(&mut router, NOW), ("a".into(), 2));
    let ticket = router.begin(&Arc::from("a"), &Prompt::default());
    router.end(ticket, Some(Failure::Unreachable), NOW);
    assert_eq!(first(&mut router, NOW), ("b".into(), 2));
    let later = NOW + Duration::from_secs(2);
    let choices = router.pick(&request("x"), &Strategy::default(), later, 3).unwrap();
    assert!(choices.iter().all(|choice| choice.cached == 0));
    // All have failed: then the ranking is as if none had.
    for id in ["a", "b"] {
        let ticket = router.begin(&Arc::from(id), &Prompt::default());
        router.end(ticket, Some(Failure::Unreachable), later);
    }
    assert_eq!(first(&mut router, later).1, 2);
}

#[test]
fn an_endpoint_that_says_nothing_is_taken_for_as_busy_as_the_others() {
    let mut router = router(&["a", "b", "c"]);
    for (id, requests) in [("a", 2), ("b", 6)] {
        router.report(id, Report { requests, kv_use: None }, NOW);
    }
    let choices = router.pick(&request("x"), &strategy("least-request"), NOW, 3).unwrap();
    let order: Vec<&str> = choices.iter().map(|choice| &*choice.id).collect();
    assert_eq!(order, ["a", "c", "b"]);
    assert!(!router.is_idle(NOW) && router.is_idle(NOW + Duration::from_secs(30)));
}

#[test]
fn a_prompt_that_is_longer_than_what_is_looked_at_is_no_longer_than_that() {
    let mut router = router(&["a"]);
    let long = request(&"x".repeat(4000));
    let _ticket = router.begin(&Arc::from("a"), &long.prompt);
    let choices = router.pick(&long, &Strategy::default(), NOW, 1).unwrap();
    assert_eq!((long.prompt.tokens(), choices[0].cached), (1 << 17, 1 << 17));
}

#[test]
fn what_has_left_is_never_chosen_and_its_requests_end_without_a_trace() {
    let mut router = router(&["a", "b"]);
    let (_, ticket) = send(&mut router, &request("x"), &strategy("random"), 1);
    set(&mut router, &["c"]);
    router.end(ticket, Some(Failure::Unreachable), NOW);
    let choices = router.pick(&request("x"), &Strategy::default(), NOW, 1).unwrap();
    assert_eq!(choices.len(), 1);
    assert_eq!(&*choices[0].address, "c:8000");
    set(&mut router, &[]);
    assert_eq!(router.pick(&request("x"), &Strategy::default(), NOW, 1), Err(NoEndpoint));
}

#[test]
fn an_endpoint_that_comes_back_owes_nothing_to_requests_from_before() {
    let mut router = router(&["a"]);
    let before = router.begin(&Arc::from("a"), &request("x").prompt);
    set(&mut router, &[]);
    set(&mut router, &["a"]);
    let _open = router.begin(&Arc::from("a"), &request("x").prompt);
    router.end(before, Some(Failure::Unreachable), NOW);
    assert_eq!(router.endpoints.values().map(|endpoint| endpoint.load.requests(0)).collect::<Vec<_>>(), [1]);
    assert!(router.endpoints.values().all(|endpoint| !endpoint.record.is_out(NOW)));
}

#[test]
fn a_pod_of_the_same_name_at_another_address_is_another() {
    let mut router = router(&["a"]);
    let _ticket = router.begin(&Arc::from("a"), &request("x").prompt);
    router.set_endpoints([(Arc::from("a"), Arc::from("elsewhere:8000"))]);
    assert_eq!(router.pick(&request("x"), &Strategy::default(), NOW, 1).unwrap()[0].cached, 0);
}

#[test]
fn two_at_random_and_the_idler_of_them() {
    let mut router = router(&["a", "b", "c", "d"]);
    let strategy = strategy("power-of-two");
    let busy: Vec<_> = (0..50).map(|_| router.begin(&Arc::from("a"), &Prompt::default())).collect();
    let mut first = BTreeMap::new();
    for random in 0..600 {
        let choices = router.pick(&request("x"), &strategy, NOW, random * 7919).unwrap();
        *first.entry(choices[0].id.to_string()).or_insert(0_u32) += 1;
    }
    // The busy one wins against nobody; the others share.
    assert!(!first.contains_key("a"), "{first:?}");
    assert!(first.values().all(|wins| (150..=250).contains(wins)), "{first:?}");
    assert_eq!(busy.len(), 50);
}

#[derive(Clone, Debug)]
enum Step {
    Send(u8, u64),
    Answer(u8),
    End(u8, Option<Failure>),
    Set(u8),
    Report(u8, u64, f64),
}

fn step() -> impl Draw<Value = Step> {
    prop_oneof![
        (any::<u8>(), any::<u64>()).prop_map(|(prompt, random)| Step::Send(prompt, random)),
        any::<u8>().prop_map(Step::Answer),
        (
            any::<u8>(),
            prop_oneof![Just(None), Just(Some(Failure::Unreachable)), Just(Some(Failure::Answered))]
        )
            .prop_map(|(which, failure)| Step::End(which, failure)),
        any::<u8>().prop_map(Step::Set),
        (any::<u8>(), any::<u64>(), any::<f64>())
            .prop_map(|(which, requests, kv)| Step::Report(which, requests, kv)),
    ]
}

const ALL: [&str; 4] = ["a", "b", "c", "d"];

proptest! {
    /// Whatever happens, every endpoint that may take requests is ranked once and no other, a request that has ended leaves no load, and
    /// nothing panics.
    #[test]
    fn every_history_ends_without_load(steps in prop::collection::vec(step(), 0..80), name in 0_usize..6) {
        let names = ["least-work", "prefix-cache", "least-request", "power-of-two", "least-kv-cache:2,prefix-cache", "session-affinity"];
        let strategy = strategy(names[name]);
        let mut router = router(&ALL);
        let mut open: Vec<Ticket> = vec![];
        let mut there: Vec<&str> = ALL.to_vec();
        for step in steps {
            match step {
                Step::Send(prompt, random) => {
                    let request = request(&format!("{} ", prompt % 3));
                    match router.pick(&request, &strategy, NOW, random) {
                        Err(NoEndpoint) => prop_assert!(there.is_empty()),
                        Ok(choices) => {
                            let mut ids: Vec<&str> = choices.iter().map(|choice| &*choice.id).collect();
                            prop_assert!(ids.iter().all(|id| there.contains(id)));
                            ids.sort_unstable();
                            ids.dedup();
                            prop_assert_eq!(ids.len(), choices.len());
                            open.push(router.begin(&choices[0].id, &request.prompt));
                        }
                    }
                }
                Step::Answer(which) if !open.is_empty() => {
                    let at = usize::from(which) % open.len();
                    router.answered(&mut open[at]);
                }
                Step::End(which, failure) if !open.is_empty() => {
                    let ticket = open.swap_remove(usize::from(which) % open.len());
                    router.end(ticket, failure, NOW);
                }
                Step::Set(mask) => {
                    there = ALL.iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0).map(|(_, name)| *name).collect();
                    set(&mut router, &there);
                }
                Step::Report(which, requests, kv) => {
                    router.report(ALL[usize::from(which) % 4], Report { requests, kv_use: Some(kv) }, NOW);
                }
                Step::Answer(_) | Step::End(..) => {}
            }
        }
        for ticket in open {
            router.end(ticket, None, NOW);
        }
        let later = NOW + Duration::from_mins(1);
        for endpoint in router.endpoints.values() {
            prop_assert_eq!((endpoint.load.others(later), endpoint.load.work(0)), (None, 0));
        }
    }
}
