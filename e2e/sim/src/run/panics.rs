//! Panics of a run. A panic in a spawned task is silent, so each is recorded on the run's own thread.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static NOTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static HOOK: Once = Once::new();

/// Starts recording panics of this thread, and clears earlier records.
pub(super) fn note() {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or_else(String::new, ToString::to_string);
            let words = info.payload_as_str().unwrap_or("no words");
            // A thread that is ending has no thread-locals.
            let _ = NOTED.try_with(|noted| {
                if let Ok(mut noted) = noted.try_borrow_mut() {
                    noted.push(format!("panic at {place}: {words}"));
                }
            });
            before(info);
        }));
    });
    let _ = noted();
}

/// Takes the recorded panics.
pub(super) fn noted() -> Vec<String> {
    NOTED.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_is_recorded() {
        note();
        assert!(noted().is_empty());
        assert!(tokio::spawn(async { panic!("on purpose") }).await.is_err());
        let noted = noted();
        let [only] = noted.as_slice() else { panic!("{noted:?}") };
        assert!(only.contains(file!()) && only.ends_with("on purpose"), "{only}");
    }
}
