//! Pods with a group's labels that its RayCluster does not control: reported once for as long as they are the same. Pure but for what it
//! remembers.

use rayfleet_api::PodName;

/// Pods that are named; of more only the number is reported.
const NAMED: usize = 3;

/// What was reported about a fleet.
#[derive(Debug, Default)]
pub(super) struct ForeignPods(Option<String>);

impl ForeignPods {
    /// What is to be reported about these pods, unless that was done.
    pub(super) fn message(&mut self, pods: &[PodName]) -> Option<String> {
        if pods.is_empty() {
            self.0 = None;
            return None;
        }
        let named = pods.iter().take(NAMED).map(PodName::as_str).collect::<Vec<_>>().join(", ");
        let more = pods.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!(
            "pods {named}{more} carry the labels of a group and are not controlled by its RayCluster: they are ignored here, but a \
             Service that selects by these labels may send them requests; remove the labels or the pods"
        );
        let is_new = self.0.replace(message.clone()).as_ref() != Some(&message);
        is_new.then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strays_are_reported_once_and_again_when_they_are_others() {
        let mut strays = ForeignPods::default();
        let names = |count: usize| (0..count).map(|number| format!("p{number}").into()).collect::<Vec<_>>();
        assert_eq!(strays.message(&names(0)), None);
        let first = strays.message(&names(3)).unwrap();
        assert!(first.starts_with("pods p0, p1, p2 carry"), "{first}");
        assert_eq!(strays.message(&names(3)), None);
        assert!(strays.message(&names(1_000)).unwrap().contains("p2 and 997 more"));
        assert_eq!(strays.message(&names(0)), None);
        assert!(strays.message(&names(1)).is_some());
    }
}
