//! What `kubectl rayfleet diagnose` says of a fleet while something is wrong with it, from the moment of the fault on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinSet;

use super::tools::Tools;
use super::until;
use crate::clock;

const COMMAND: Duration = Duration::from_secs(30);
/// Pause between two questions: a fault is named that much later than it could be, at most.
const PAUSE: Duration = Duration::from_millis(500);

/// A cause that a diagnosis must name: the link of the chain at which it is, and words of what is said. Of several, any is right:
/// what is known of a fault grows.
pub type Cause = &'static [(&'static str, &'static str)];

/// Asks again and again until it is dropped.
pub struct Diagnosis {
    said: Arc<Mutex<Vec<Said>>>,
    _asks: JoinSet<()>,
}

/// What was said first of a fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Seconds since the fault.
    pub seconds: f64,
    /// `namespace/name` of the fleet; none where all are concerned.
    pub fleet: Option<String>,
    /// The link of the chain.
    pub link: String,
    /// What is wrong.
    pub what: String,
    /// What helps.
    pub cure: String,
}

impl Diagnosis {
    /// Begins now, for all fleets of the namespace.
    pub fn begin(tools: &Tools) -> Self {
        let said = Arc::default();
        let mut asks = JoinSet::new();
        asks.spawn(ask(tools.clone(), Arc::clone(&said), clock::instant()));
        Self { said, _asks: asks }
    }

    /// What was said of a fleet so far, each once, in order.
    pub fn of(&self, fleet: &str) -> Vec<Said> {
        let all = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |said: &&Said| said.fleet.as_ref().is_none_or(|key| key.rsplit('/').next() == Some(fleet));
        all.iter().filter(is).cloned().collect()
    }

    /// Waits until the cause is named. That another one is named before is an error.
    pub async fn named(&self, fleet: &str, cause: Cause, limit: Duration) -> anyhow::Result<Said> {
        let waited =
            until("the cause to be diagnosed", limit, async || Ok(self.of(fleet).into_iter().next())).await;
        let said = waited.with_context(|| format!("{cause:?} was to be named"))?;
        self.only(fleet, &[cause])?;
        Ok(said)
    }

    /// Waits until the cause is named, whatever is named before.
    pub async fn named_after(&self, fleet: &str, cause: Cause, limit: Duration) -> anyhow::Result<Said> {
        let named = async || Ok(self.of(fleet).into_iter().find(|said| said.is(cause)));
        let waited = until("the cause to be diagnosed", limit, named).await;
        waited.with_context(|| format!("{cause:?} was to be named, not {}", self.words(fleet)))
    }

    /// Nothing but these was named.
    pub fn only(&self, fleet: &str, causes: &[Cause]) -> anyhow::Result<()> {
        let all = self.of(fleet);
        let right = |said: &Said| causes.iter().any(|cause| said.is(cause));
        ensure!(all.iter().all(right), "only {causes:?} were to be named, not {}", self.words(fleet));
        Ok(())
    }

    /// All that was said of a fleet.
    pub fn words(&self, fleet: &str) -> String {
        let words = |said: Said| format!("{:.1} s {}: {}", said.seconds, said.link, said.what);
        self.of(fleet).into_iter().map(words).collect::<Vec<_>>().join("; ")
    }
}

impl Said {
    fn is(&self, cause: Cause) -> bool {
        cause.iter().any(|(link, words)| self.link == *link && self.what.contains(words))
    }

    /// A row of a table in Markdown.
    pub fn row(&self, fault: &str) -> String {
        format!(
            "| {fault} | {} | {} | {:.0} s |",
            self.link,
            self.what.replace('|', "\\|"),
            self.seconds.ceil()
        )
    }
}

async fn ask(tools: Tools, said: Arc<Mutex<Vec<Said>>>, start: Instant) {
    loop {
        let answer = tools.ask(&["rayfleet", "diagnose", "-o", "json"], None, COMMAND).await;
        if let Ok(found) = answer.and_then(|answer| first(&answer.out)) {
            let seconds = clock::seconds_since(start);
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            for new in found {
                let known = said
                    .iter()
                    .any(|old| (&old.fleet, &old.link, &old.what) == (&new.fleet, &new.link, &new.what));
                if !known {
                    said.push(Said { seconds, ..new });
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[derive(Deserialize)]
struct Document {
    first: Vec<First>,
    steps: Vec<Value>,
}

#[derive(Deserialize)]
struct First {
    fleet: Option<String>,
    finding: Value,
}

/// What a document of the command says first.
fn first(document: &str) -> anyhow::Result<Vec<Said>> {
    let Document { first, steps } =
        serde_json::from_str(document).with_context(|| format!("this is no diagnosis: {document}"))?;
    let said = |First { fleet, finding }| {
        let of = |step: &&Value| step["finding"] == finding && step["fleet"].as_str() == fleet.as_deref();
        let Some(step) = steps.iter().find(of) else { bail!("a finding is in no step: {finding}") };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Said {
            seconds: 0.0,
            link: text(&step["link"]),
            what: text(&finding["what"]),
            cure: text(&finding["cure"]),
            fleet,
        })
    };
    first.into_iter().map(said).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        let finding =
            json!({"subject": {}, "what": "group f-0: RankDied 2s ago", "evidence": [], "cure": "read"});
        json!({
            "wrong": true, "cut": false,
            "first": [{"fleet": "n/f", "finding": finding}],
            "steps": [
                {"link": "ApiServer", "state": "Ok", "says": "answers"},
                {"fleet": "n/f", "link": "Engine", "state": "Wrong", "says": "x", "finding": finding},
            ],
        })
    }

    fn diagnosis(said: Vec<Said>) -> Diagnosis {
        Diagnosis { said: Arc::new(Mutex::new(said)), _asks: JoinSet::new() }
    }

    #[test]
    fn the_first_finding_of_a_fleet_is_read_with_its_link() {
        let said = first(&document().to_string()).unwrap();
        assert_eq!((said[0].link.as_str(), said[0].cure.as_str()), ("Engine", "read"));
        assert_eq!(said[0].row("SIGKILL"), "| SIGKILL | Engine | group f-0: RankDied 2s ago | 0 s |");
        assert!(first("{}").is_err());
    }

    #[tokio::test]
    async fn another_cause_is_wrong_even_if_the_right_one_follows() {
        let right = first(&document().to_string()).unwrap().remove(0);
        let other = Said { link: "Pods".to_owned(), ..right.clone() };
        let cause: Cause = &[("Engine", "RankDied"), ("Ray", "lost Ray")];
        let one = diagnosis(vec![right.clone()]);
        assert_eq!(one.named("f", cause, COMMAND).await.unwrap(), right);
        assert!(diagnosis(vec![other, right.clone()]).named("f", cause, COMMAND).await.is_err());
        assert!(diagnosis(vec![right.clone()]).named("f", &[("Engine", "Hung")], COMMAND).await.is_err());
        assert_eq!(one.of("g"), []);
        assert_eq!(diagnosis(vec![Said { fleet: None, ..right.clone() }]).of("g").len(), 1);
    }
}
