use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::Status;

use crate::policy::{Retries, Throttling};

const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Whether a call is repeated, and when, as gRPC's proposal A6 says it: tonic reads no service config.
pub(crate) struct Retry<'a> {
    policy: Option<&'a Retries>,
    throttle: &'a Throttle,
    attempts: u32,
    /// Pauses of our own choice, since the gateway last chose one.
    pauses: i32,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(policy: Option<&'a Retries>, throttle: &'a Throttle) -> Self {
        Self { policy, throttle, attempts: 0, pauses: 0 }
    }

    /// The call has succeeded.
    pub(crate) fn succeeded(&self) {
        self.throttle.succeeded();
    }

    /// The pause before the next attempt; None: there is none.
    pub(crate) fn pause_after(&mut self, failure: &Status) -> Option<Duration> {
        let policy = self.policy.filter(|policy| policy.codes.contains(&failure.code()))?;
        self.attempts += 1;
        // A failure counts, even when this call has no attempt left.
        if !self.throttle.failed() || self.attempts >= policy.max_attempts {
            return None;
        }
        if let Some(wish) = failure.metadata().get(PUSHBACK) {
            self.pauses = 0;
            // What is no number, such as -1, says: do not repeat.
            return wish.to_str().ok()?.parse().ok().map(Duration::from_millis);
        }
        let grown = policy.initial_backoff.as_secs_f64() * policy.backoff_multiplier.powi(self.pauses);
        self.pauses += 1;
        Some(policy.max_backoff.min(Duration::from_secs_f64(grown)).mul_f64(rand::random_range(0.8..1.2)))
    }
}

/// Shared by the calls of a connection: where too many fail, none is repeated.
pub(crate) struct Throttle {
    config: Throttling,
    tokens: Mutex<f64>,
}

impl Throttle {
    pub(crate) fn new(config: Throttling) -> Self {
        Self { config, tokens: Mutex::new(config.max_tokens) }
    }

    fn succeeded(&self) {
        self.add(self.config.token_ratio);
    }

    /// Says whether repeats are still allowed.
    fn failed(&self) -> bool {
        self.add(-1.0) > self.config.max_tokens / 2.0
    }

    fn add(&self, change: f64) -> f64 {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        *tokens = (*tokens + change).clamp(0.0, self.config.max_tokens);
        *tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::POLICIES;

    fn policy() -> Option<&'static Retries> {
        POLICIES.of("/cbrgateway.v1.VaultService/GetVault").and_then(|policy| policy.retries.as_ref())
    }

    fn throttle() -> Throttle {
        Throttle::new(POLICIES.throttling)
    }

    fn pushed_back(wish: &'static str) -> Status {
        let mut status = Status::unavailable("as the test says");
        status.metadata_mut().insert(PUSHBACK, wish.parse().expect("it is ASCII"));
        status
    }

    #[test]
    fn pauses_grow_until_there_are_no_attempts_left() {
        let throttle = throttle();
        let mut retry = Retry::new(policy(), &throttle);
        for base in [200.0, 600.0, 1800.0] {
            let pause = retry.pause_after(&Status::unavailable("")).expect("there is another attempt").as_secs_f64() * 1000.0;
            assert!((base * 0.8..base * 1.2).contains(&pause), "{pause} ms instead of about {base}");
        }
        assert_eq!(retry.pause_after(&Status::unavailable("")), None);
    }

    #[test]
    fn what_is_not_to_be_repeated_is_not() {
        let throttle = throttle();
        assert_eq!(Retry::new(policy(), &throttle).pause_after(&Status::internal("")), None);
        assert_eq!(Retry::new(None, &throttle).pause_after(&Status::unavailable("")), None);
    }

    #[test]
    fn the_gateway_chooses_the_pause() {
        let throttle = throttle();
        let mut retry = Retry::new(policy(), &throttle);
        assert_eq!(retry.pause_after(&pushed_back("7")), Some(Duration::from_millis(7)));
        assert_eq!(retry.pause_after(&pushed_back("-1")), None);
    }

    #[test]
    fn where_half_of_the_tokens_are_gone_nothing_is_repeated() {
        let throttle = throttle();
        let repeated = || Retry::new(policy(), &throttle).pause_after(&Status::unavailable("")).is_some();
        assert_eq!([(); 6].map(|()| repeated()), [true, true, true, true, false, false]);
        (0..21).for_each(|_| throttle.succeeded());
        assert!(repeated());
    }
}
