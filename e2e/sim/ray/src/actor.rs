//! Actors, and how they die, in Ray's words. `ray-bridge` distinguishes causes from consequences by them.

use serde_json::{Value, json};

/// Words of a node that stopped answering.
pub(super) const HEARTBEATS: &str = "health check failed due to missing too many heartbeats";
/// Ray's reason for a node whose container was terminated.
pub(super) const SIGTERM: &str = "received SIGTERM";

/// An actor.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) id: String,
    pub(super) class: &'static str,
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) job_id: String,
    pub(super) node: Option<String>,
    pub(super) pid: u64,
    pub(super) group: Option<String>,
    pub(super) bundle: Option<u32>,
    pub(super) gpus: u32,
    pub(super) detached: bool,
    pub(super) death: Option<Death>,
}

impl Actor {
    pub(super) fn alive(&self) -> bool {
        self.death.is_none()
    }
}

/// A death.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Death {
    /// Its process was killed.
    Killed,
    /// The engine took it down.
    RayKill,
    /// Its owner is dead.
    Owner,
    /// Its placement group was removed.
    GroupRemoved,
    /// It exited as intended.
    Intended,
    /// Its node is dead.
    Node(&'static str),
}

impl Death {
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Killed | Self::GroupRemoved | Self::Intended => "WORKER_DIED",
            Self::RayKill => "RAY_KILL",
            Self::Owner => "OWNER_DIED",
            Self::Node(_) => "NODE_DIED",
        }
    }

    pub(super) fn words(&self, actor: &Actor, ip: &str) -> String {
        let worker = |kind: &str, detail: &str| {
            format!(
                "The actor is dead because its worker process has died. Worker exit type: {kind} Worker exit detail: {detail}"
            )
        };
        match self {
            Self::Killed => worker(
                "SYSTEM_ERROR",
                "Worker unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the \
                 process was killed by the OOM killer due to high memory usage, (2) ray stop --force is called, or (3) the \
                 worker is crashed unexpectedly due to SIGSEGV or another unexpected error.",
            ),
            Self::RayKill => "The actor is dead because it was killed by `ray.kill`.".to_owned(),
            Self::Owner => format!(
                "The actor is dead because its owner has died. Owner Id: {}, Owner Ip address: {ip}, Owner worker exit type: \
                 SYSTEM_ERROR, Worker exit detail: Owner's worker process has crashed.",
                owner(actor)
            ),
            Self::GroupRemoved => worker(
                "INTENDED_SYSTEM_EXIT",
                &format!(
                    "Destroying worker since its placement group was removed. Placement group id: {}, bundle index: {}, actor \
                     id: {}",
                    actor.group.as_deref().unwrap_or_default(),
                    actor.bundle.unwrap_or_default(),
                    actor.id
                ),
            ),
            Self::Intended => {
                worker("INTENDED_USER_EXIT", "Worker exits by an user request. exit_actor() is called.")
            }
            Self::Node(why) => format!(
                "The actor died because its node has died. Node Id: {}\n\tthe actor's node was terminated unexpectedly: {why}",
                actor.node.as_deref().unwrap_or_default()
            ),
        }
    }

    /// The death cause as the state API shows it.
    pub(super) fn cause(&self, actor: &Actor, ip: &str, owner_ip: &str, namespace: &str) -> Value {
        let mut context = json!({
            "error_message": self.words(actor, owner_ip),
            "owner_id": owner(actor),
            "owner_ip_address": owner_ip,
            "node_ip_address": ip,
            "pid": actor.pid,
            "name": actor.name,
            "ray_namespace": namespace,
            "class_name": actor.class,
            "actor_id": actor.id,
            "reason": self.reason(),
            "never_started": actor.node.is_none(),
        });
        if let (Self::Node(why), Value::Object(fields)) = (self, &mut context) {
            let info = json!({ "reason": "UNEXPECTED_TERMINATION", "reason_message": why });
            fields.insert("node_death_info".to_owned(), info);
        }
        json!({ "actor_died_error_context": context })
    }
}

fn owner(actor: &Actor) -> String {
    format!("{}{}", actor.job_id, "f".repeat(48))
}
