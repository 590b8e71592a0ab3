//! The wire between bridge and simulation: the wire gives the pauses between retries, so a run in simulated
//! time is reproducible.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use ray_bridge::{Bridge, Limits, Target, Unreached, Wire};
use reqwest::{Request, Response};

use super::super::RayWorld;

/// Breaks every connection, and returns the given jitter.
#[derive(Debug)]
struct Broken(Mutex<Vec<f64>>);

impl Wire for Broken {
    fn send(&self, _: Request) -> BoxFuture<'static, Result<Response, Unreached>> {
        Box::pin(async { Err(Unreached { refused: false, cause: "broken".to_owned() }) })
    }

    fn connect(&self, _: &str, _: u16) -> BoxFuture<'static, std::io::Result<()>> {
        Box::pin(async { Err(std::io::ErrorKind::ConnectionReset.into()) })
    }

    fn jitter(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_are_jittered_by_the_wire() {
    let bridge = Bridge::over(Arc::new(Broken(Mutex::new(vec![1.5, 0.5]))), Limits::default()).unwrap();
    let target = Target {
        name: "chat".to_owned(),
        dashboard: "http://10.0.0.1:8265".parse().unwrap(),
        engine: None,
        token: None,
        trusts_engine: false,
    };
    let clock = RayWorld::new(0);
    assert!(bridge.dashboard(&target).version().await.is_err());
    // Half of 100 ms, then one and a half times 200 ms.
    assert_eq!(clock.now().0, Duration::from_millis(350));
}

#[tokio::test(start_paused = true)]
async fn the_jitter_of_a_world_comes_from_its_seed() {
    let of = |seed| {
        let wire = RayWorld::new(seed).wire();
        [(); 8].map(|()| wire.jitter().to_bits())
    };
    assert_eq!(of(3), of(3));
    assert_ne!(of(3), of(4));
    let factors = of(3).map(f64::from_bits);
    assert!(factors.iter().all(|factor| (0.5..1.5).contains(factor)), "{factors:?}");
}
