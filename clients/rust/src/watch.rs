use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Response, Status, Streaming};

use crate::resumption::{Next, Resumption, lost};
use crate::v1::task_service_client::TaskServiceClient;
use crate::v1::watch_tasks_response::Event;
use crate::v1::{WatchTasksRequest, WatchTasksResponse};
use crate::{Connection, Error};

/// Follows tasks through cuts and restarts of the gateway, until all are final (`end_when_all_terminal`) or it is dropped.
///
/// It tells every event but `stream_end` and those of a task that came before, by its id and revision. Handle `gap`: events may
/// be missing, and a snapshot follows, which is told whole. A request with the `resume_token` of the last event goes on from
/// there, also in another process.
///
/// ```no_run
/// # use cbrgateway::{Connection, Error, Watch, v1};
/// # async fn follow(connection: Connection, request: v1::WatchTasksRequest) -> Result<(), Error> {
/// let mut watch = Watch::new(connection, request);
/// while let Some(event) = watch.message().await? {
///     println!("{event:?}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct Watch {
    tasks: TaskServiceClient<Connection>,
    memory: Resumption,
    stage: Stage,
    over: bool,
}

type Opening = Pin<Box<dyn Future<Output = Result<Response<Streaming<WatchTasksResponse>>, Status>> + Send>>;

/// How far a stream is. It is all here, and nothing in the future of `message`, which may be dropped at any time: a stream whose
/// opening were dropped with it would be asked for again and again, and never be there.
enum Stage {
    /// There is none; the next may be opened then.
    Closed(Instant),
    /// It has been asked for, and is lost if it is not there by then.
    Opening(Opening, Instant),
    /// It is there, and is lost if nothing has come by then.
    Open(Box<Streaming<WatchTasksResponse>>, Instant),
}

impl Watch {
    /// Nothing is sent before the first [`message`](Self::message).
    #[must_use]
    pub fn new(connection: Connection, request: WatchTasksRequest) -> Self {
        Self {
            tasks: TaskServiceClient::new(connection),
            memory: Resumption::new(request),
            stage: Stage::Closed(Instant::now()),
            over: false,
        }
    }

    /// The next event; None at the end. May be dropped before it answers, as `select!` and `timeout` do: no event is lost, and
    /// a stream that is being opened goes on with the next call.
    ///
    /// # Errors
    ///
    /// A refusal, or a gateway that could not be reached for a minute. Nothing comes after an error.
    pub async fn message(&mut self) -> Result<Option<WatchTasksResponse>, Error> {
        while !self.over {
            let ended = match self.next().await {
                Ok(Some(event)) => match self.memory.take(event) {
                    Ok(Some(news)) => return Ok(Some(news)),
                    Ok(None) => continue,
                    Err(missing) => Err(missing),
                },
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            self.stage = Stage::Closed(Instant::now());
            self.over = true;
            let next = self.memory.ended(ended)?;
            self.over = matches!(next, Next::End);
            match next {
                Next::End => {}
                Next::Stream(pause) => self.stage = Stage::Closed(Instant::now() + pause),
                Next::Gap(gap) => {
                    return Ok(Some(WatchTasksResponse { event: Some(Event::Gap(gap)), ..WatchTasksResponse::default() }));
                }
            }
        }
        Ok(None)
    }

    /// The next message of the stream, which is opened if there is none; None at its end.
    async fn next(&mut self) -> Result<Option<WatchTasksResponse>, Error> {
        let silence = self.memory.silence();
        loop {
            match &mut self.stage {
                Stage::Closed(due) => {
                    sleep_until(*due).await;
                    let (mut tasks, request) = (self.tasks.clone(), self.memory.opened());
                    let opening = Box::pin(async move { tasks.watch_tasks(request).await });
                    self.stage = Stage::Opening(opening, Instant::now() + silence);
                }
                Stage::Opening(opening, until) => {
                    let stream = heard(opening, *until, silence).await?.into_inner();
                    self.stage = Stage::Open(Box::new(stream), Instant::now() + silence);
                }
                Stage::Open(stream, until) => {
                    let message = heard(stream.message(), *until, silence).await?;
                    *until = Instant::now() + silence;
                    return Ok(message);
                }
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("memory", &self.memory).field("over", &self.over).finish_non_exhaustive()
    }
}

/// The answer, if it comes in time.
async fn heard<T>(answer: impl Future<Output = Result<T, Status>>, until: Instant, silence: Duration) -> Result<T, Error> {
    match timeout_at(until, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(lost(format!("no sign of life for {silence:?}"))),
    }
}
