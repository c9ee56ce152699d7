use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Status, Streaming};

use crate::resumption::{Next, Resumption, lost};
use crate::v1::task_service_client::TaskServiceClient;
use crate::v1::watch_tasks_response::Event;
use crate::v1::{WatchTasksRequest, WatchTasksResponse};
use crate::{Connection, Error};

/// Follows tasks through cuts and restarts of the gateway, until all are final (`end_when_all_terminal`) or it is dropped.
///
/// It tells every event but `stream_end` and those of a task that came before, by its id and revision. Handle `gap`: events may
/// be missing, a snapshot follows. A request with the `resume_token` of the last event goes on from there, also in another
/// process.
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
#[derive(Debug)]
pub struct Watch {
    tasks: TaskServiceClient<Connection>,
    memory: Resumption,
    open: Option<Open>,
    /// When the next stream may be opened.
    due: Instant,
    over: bool,
}

#[derive(Debug)]
struct Open {
    stream: Streaming<WatchTasksResponse>,
    /// The stream is lost if nothing has come by then.
    silent: Instant,
}

impl Watch {
    /// Nothing is sent before the first [`message`](Self::message).
    #[must_use]
    pub fn new(connection: Connection, request: WatchTasksRequest) -> Self {
        Self {
            tasks: TaskServiceClient::new(connection),
            memory: Resumption::new(request),
            open: None,
            due: Instant::now(),
            over: false,
        }
    }

    /// The next event; None at the end. May be dropped before it answers, as `select!` and `timeout` do: no event is lost.
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
            self.open = None;
            self.over = true;
            let next = self.memory.ended(ended)?;
            self.over = matches!(next, Next::End);
            match next {
                Next::End => {}
                Next::Stream(pause) => self.due = Instant::now() + pause,
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
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                sleep_until(self.due).await;
                let opened = self.tasks.watch_tasks(self.memory.opened());
                let stream = heard(opened, Instant::now() + silence, silence).await?.into_inner();
                none.insert(Open { stream, silent: Instant::now() + silence })
            }
        };
        let message = heard(open.stream.message(), open.silent, silence).await?;
        open.silent = Instant::now() + silence;
        Ok(message)
    }
}

/// The answer, if it comes in time.
async fn heard<T>(answer: impl Future<Output = Result<T, Status>>, until: Instant, silence: Duration) -> Result<T, Error> {
    match timeout_at(until, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(lost(format!("no sign of life for {silence:?}"))),
    }
}
