//! Panics of a run. A task that panics ends without a word, so each is noted on the thread that the run has for itself.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static NOTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static HOOK: Once = Once::new();

/// From now on panics of this thread are noted. What was noted before is forgotten.
pub(super) fn note() {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or_else(String::new, ToString::to_string);
            let words = info.payload_as_str().unwrap_or("no words");
            // A thread that is ending has no notes any more.
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

/// Takes what was noted.
pub(super) fn noted() -> Vec<String> {
    NOTED.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_noted() {
        note();
        assert!(noted().is_empty());
        assert!(tokio::spawn(async { panic!("on purpose") }).await.is_err());
        let noted = noted();
        let [only] = noted.as_slice() else { panic!("{noted:?}") };
        assert!(only.contains(file!()) && only.ends_with("on purpose"), "{only}");
    }
}
