use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status};

use crate::v1::watch_tasks_response::Event;
use crate::v1::{ErrorReason, StreamEnd, StreamEndReason, Task, WatchGap, WatchTasksRequest, WatchTasksResponse};
use crate::{Error, Kind};

const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(20);
/// The gateway refuses one that is longer, and any that is not positive.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(3600);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// Where nothing has come for so long since a failure, the next one ends the watch. Not since the last event: a stream may be
/// silent for longer before that counts as a failure.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// Tasks whose last revision is known. One that was forgotten may be told twice.
const MAX_REMEMBERED: usize = 10_000;

/// What a watch remembers from stream to stream, and what follows from it.
#[derive(Debug)]
pub(crate) struct Resumption {
    request: WatchTasksRequest,
    sequence: i64,
    end: Option<StreamEnd>,
    /// When the first of the failures was that no event has followed.
    failing: Option<Instant>,
    failures: u32,
    revisions: HashMap<String, i64>,
    /// Ids in `revisions`, the oldest first.
    order: VecDeque<String>,
}

/// What follows the end of a stream.
pub(crate) enum Next {
    /// Another stream, after a pause.
    Stream(Duration),
    /// A gap for the caller, then another stream at once.
    Gap(WatchGap),
    /// Nothing: everything has been told.
    End,
}

impl Resumption {
    pub(crate) fn new(request: WatchTasksRequest) -> Self {
        Self { request, sequence: 0, end: None, failing: None, failures: 0, revisions: HashMap::new(), order: VecDeque::new() }
    }

    /// How long a healthy stream can be silent at most.
    pub(crate) fn silence(&self) -> Duration {
        let own = self.request.heartbeat_interval.and_then(|own| Duration::try_from(own).ok());
        own.filter(|own| !own.is_zero() && *own <= LONGEST_HEARTBEAT).unwrap_or(DEFAULT_HEARTBEAT) * 5 / 2
    }

    /// The request of the next stream.
    pub(crate) fn opened(&mut self) -> WatchTasksRequest {
        self.sequence = 0;
        self.end = None;
        self.request.clone()
    }

    /// Answers an event that is news for the caller. Fails if one before it is missing.
    pub(crate) fn take(&mut self, event: WatchTasksResponse) -> Result<Option<WatchTasksResponse>, Error> {
        if event.sequence != self.sequence + 1 {
            return Err(lost(format!("event {} is missing, {} came instead", self.sequence + 1, event.sequence)));
        }
        self.sequence = event.sequence;
        self.failures = 0;
        self.failing = None;
        if !event.resume_token.is_empty() {
            self.request.resume_token.clone_from(&event.resume_token);
        }
        let task = match &event.event {
            Some(Event::StreamEnd(end)) => {
                self.end = Some(*end);
                return Ok(None);
            }
            Some(Event::SnapshotTask(task)) => Some(task),
            Some(Event::Update(update) | Event::Terminal(update)) => update.task.as_ref(),
            Some(Event::Gap(_)) => {
                self.forget();
                None
            }
            _ => None,
        };
        let is_news = task.is_none_or(|task| self.is_new(task));
        Ok(is_news.then_some(event))
    }

    fn is_new(&mut self, task: &Task) -> bool {
        match self.revisions.get_mut(&task.id) {
            Some(last) if task.revision <= *last => return false,
            Some(last) => *last = task.revision,
            None => self.remember(task),
        }
        true
    }

    /// After a gap the caller gets to see the new snapshot whole: it may have dropped what it knew.
    fn forget(&mut self) {
        self.revisions.clear();
        self.order.clear();
    }

    fn remember(&mut self, task: &Task) {
        self.revisions.insert(task.id.clone(), task.revision);
        self.order.push_back(task.id.clone());
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.revisions.remove(&oldest);
        }
    }

    /// What follows the end of a stream. Fails with what ends the watch.
    pub(crate) fn ended(&mut self, result: Result<(), Error>) -> Result<Next, Error> {
        let error = match (result, &self.end) {
            (Ok(()), Some(end)) if end.reason() == StreamEndReason::AllTerminal => return Ok(Next::End),
            (Ok(()), Some(end)) => {
                let delay = end.retry_delay.and_then(|delay| delay.try_into().ok());
                return Ok(Next::Stream(delay.unwrap_or_default()));
            }
            (Ok(()), None) => lost("it ended without stream_end"),
            (Err(error), _) => error,
        };
        if error.code == Code::OutOfRange && !self.request.resume_token.is_empty() {
            self.request.resume_token.clear();
            self.request.include_snapshot = None;
            self.forget();
            return Ok(Next::Gap(WatchGap { reason: error.to_string(), ..WatchGap::default() }));
        }
        if !self.is_cut(&error) || self.failing.get_or_insert_with(Instant::now).elapsed() > RECONNECT_TIMEOUT {
            return Err(error);
        }
        let longest = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(self.failures.min(10)));
        self.failures += 1;
        let pause = rand::random_range(Duration::ZERO..longest);
        Ok(Next::Stream(pause.max(error.retry_delay.unwrap_or_default())))
    }

    /// Whether a new stream can go on where this one broke.
    fn is_cut(&self, error: &Error) -> bool {
        match error.code {
            Code::Unavailable | Code::Aborted | Code::Cancelled => true,
            // The places of lost streams are still taken for a while.
            Code::ResourceExhausted => !self.request.resume_token.is_empty() || error.reason == ErrorReason::Overloaded,
            // Something between the gateway and us.
            Code::Internal | Code::Unknown => error.kind != Kind::Answered,
            _ => false,
        }
    }
}

/// How a stream ends that does not tell its end.
pub(crate) fn lost(what: impl std::fmt::Display) -> Error {
    Status::unavailable(format!("the stream was lost: {what}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_silence_ends_no_watch_however_long_it_is() {
        let heartbeat_interval = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        let mut memory = Resumption::new(WatchTasksRequest { heartbeat_interval, ..WatchTasksRequest::default() });
        let mut silence = async || {
            tokio::time::advance(memory.silence()).await;
            memory.ended(Err(lost("silence")))
        };
        assert!(matches!(silence().await, Ok(Next::Stream(_))));
        assert!(silence().await.is_err());
    }
}
