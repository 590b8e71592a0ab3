//! Why the dashboard did not answer: its process, the network, or a lost head. Concluded from what else on
//! the head answers, and from whether workers still reach it.

use super::reachability::{HeadReachability, Port};
use super::{Diagnosis, Trouble, Unreachable};
use crate::CallError;

/// Always a diagnosis: a dashboard that does not answer is a trouble in itself.
pub(super) fn unreachable(error: &CallError, around: &HeadReachability) -> Diagnosis {
    let mut evidence = vec![error.to_string()];
    let trouble = if error.kind.is_silence() {
        judge(around, &mut evidence)
    } else {
        Trouble::DashboardUnreachable { because: Unreachable::Answer }
    };
    if around.engine == Some(Port::Open) {
        evidence.push("the engine's port is open".to_owned());
    }
    Diagnosis { trouble, evidence }
}

fn judge(around: &HeadReachability, evidence: &mut Vec<String>) -> Trouble {
    let because = |because| Trouble::DashboardUnreachable { because };
    let mut others = [&around.agent, &around.engine].into_iter().flatten();
    let ray_answers = others.clone().any(|port| *port == Port::Open);
    let machine_answers = others.any(|port| matches!(port, Port::Open | Port::Refused));
    match &around.dashboard {
        Port::Open => {
            evidence.push("its port accepts connections but does not answer".to_owned());
            because(Unreachable::Process)
        }
        Port::Refused if ray_answers => {
            evidence
                .push("nothing listens on its port, but Ray or the engine on its machine answers".to_owned());
            because(Unreachable::Process)
        }
        Port::Refused => {
            evidence.push("its machine refuses connections: Ray on it has ended".to_owned());
            Trouble::HeadLost
        }
        Port::Silent(why) => {
            evidence.push(format!("its port does not respond ({why})"));
            if machine_answers {
                evidence.push("other ports of its machine respond".to_owned());
                return because(Unreachable::Network);
            }
            workers(around, evidence)
        }
    }
}

/// Nothing on the head answers: either it is gone, or the network between here and it is cut.
fn workers(around: &HeadReachability, evidence: &mut Vec<String>) -> Trouble {
    let network = Trouble::DashboardUnreachable { because: Unreachable::Network };
    let mut reached = around.workers.iter().filter(|worker| worker.answered);
    if let Some(worker) = reached.clone().find(|worker| worker.reaches_head) {
        evidence.push(format!("worker {} is reachable, and reaches the head", worker.ip));
        return network;
    }
    match reached.next() {
        Some(worker) => {
            evidence.push(format!("worker {} is reachable, but does not reach the head either", worker.ip));
            Trouble::HeadLost
        }
        None if around.workers.is_empty() => {
            evidence.push("no worker is known".to_owned());
            network
        }
        None => {
            evidence.push(format!("none of {} workers is reachable either", around.workers.len()));
            network
        }
    }
}
