use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::{Response, Status};

use crate::lists::Started;
use crate::v1::{ErrorReason, SkippedResource, Submission, Task, TaskFilter, WatchTasksRequest};
use crate::work::Work;
use crate::{Connection, Error, Watch};

/// So many ids a watch can name.
const MAX_IDS: usize = 100;
/// Longer than any work.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What work has come to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Ended {
    /// The tasks that have succeeded, as they ended.
    pub tasks: Vec<Task>,
    /// Resources that CBR left out, with its code and reason. A change can succeed and leave out every resource.
    pub skipped: Vec<SkippedResource>,
}

/// A part of work that did not succeed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedWork {
    /// Of the task, or of the submission.
    pub id: String,
    /// The task as it was last seen, if it was.
    pub task: Option<Task>,
    /// CBR's code, such as `BackupService.6125`; empty where it gave none.
    pub code: String,
    /// Our reason.
    pub reason: ErrorReason,
    /// A sentence for people.
    pub message: String,
}

/// Work that has ended, and did not all succeed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskFailed {
    /// What did not succeed.
    pub failures: Vec<FailedWork>,
    /// What did, and what CBR left out.
    pub ended: Ended,
}

/// Why a wait did not end well.
#[derive(Clone, Debug)]
pub enum WaitError {
    /// The work has ended, and not all of it has succeeded.
    Failed(TaskFailed),
    /// A call has failed; or the time was up, and [`still_open`](crate::Failure::still_open) names what goes on.
    Call(Error),
}

/// What [`Connection::wait`] waits for: a submission, a task, the id of a task, or several of one of these.
#[derive(Clone, Debug, Default)]
pub struct Wanted(pub(crate) Vec<One>);

#[derive(Clone, Debug)]
pub(crate) enum One {
    Submission(Submission),
    Task(String),
    Nothing,
}

impl Connection {
    /// Waits for the end of work, by one [`Watch`] after the other for each hundred ids; nothing is polled. Without `within` it takes
    /// as long as it takes.
    ///
    /// # Errors
    ///
    /// [`WaitError::Failed`] once all has ended, if not all has succeeded; [`WaitError::Call`] of kind `Deadline` when the time is up,
    /// and otherwise as [`Watch::message`]; at once with `INVALID_ARGUMENT` for what has no id, such as a submission that is not set.
    pub async fn wait(&self, what: impl Into<Wanted>, within: impl Into<Option<Duration>>) -> Result<Ended, WaitError> {
        let within = within.into();
        let end = Instant::now() + within.unwrap_or(NEVER).min(NEVER);
        let mut work = Work::new(what.into())?;
        let (tasks, submissions) = work.ids();
        let filters = (tasks.chunks(MAX_IDS).map(|ids| TaskFilter { task_ids: ids.to_vec(), ..TaskFilter::default() }))
            .chain(submissions.chunks(MAX_IDS).map(|ids| TaskFilter { submission_ids: ids.to_vec(), ..TaskFilter::default() }));
        for filter in filters {
            let request = WatchTasksRequest { filter: Some(filter), end_when_all_terminal: true, ..WatchTasksRequest::default() };
            let mut watch = Watch::new(self.clone(), request);
            loop {
                match timeout_at(end, watch.message()).await {
                    Ok(event) => match event? {
                        Some(event) => work.hear(event),
                        None => break,
                    },
                    Err(_) => return Err(Error::late(within.unwrap_or(NEVER), work.still_open()).into()),
                }
            }
        }
        work.ended()
    }

    /// Makes a change, and waits for what it has started: answers both.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use cbrgateway::{Connection, WaitError, v1, v1::vault_service_client::VaultServiceClient};
    /// # async fn delete(connection: Connection, request: v1::DeleteVaultRequest) -> Result<(), WaitError> {
    /// let mut vaults = VaultServiceClient::new(connection.clone());
    /// let (answer, ended) = connection.run_and_wait(vaults.delete_vault(request), Duration::from_secs(600)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// That of the call, and as [`wait`](Self::wait): `INVALID_ARGUMENT`, too, for an answer that has no submission, such as that of a
    /// change that was only validated.
    pub async fn run_and_wait<R: Started>(
        &self,
        call: impl Future<Output = Result<Response<R>, Status>>,
        within: impl Into<Option<Duration>>,
    ) -> Result<(R, Ended), WaitError> {
        let answer = call.await.map_err(Error::from)?.into_inner();
        let ended = self.wait(answer.submission().cloned(), within).await?;
        Ok((answer, ended))
    }
}

impl From<Submission> for Wanted {
    fn from(submission: Submission) -> Self {
        Self(vec![One::Submission(submission)])
    }
}

impl From<&Submission> for Wanted {
    fn from(submission: &Submission) -> Self {
        submission.clone().into()
    }
}

impl From<Option<Submission>> for Wanted {
    fn from(submission: Option<Submission>) -> Self {
        Self(vec![submission.map_or(One::Nothing, One::Submission)])
    }
}

impl From<&Task> for Wanted {
    fn from(task: &Task) -> Self {
        task.id.clone().into()
    }
}

impl From<Task> for Wanted {
    fn from(task: Task) -> Self {
        task.id.into()
    }
}

impl From<String> for Wanted {
    fn from(task_id: String) -> Self {
        Self(vec![One::Task(task_id)])
    }
}

impl From<&str> for Wanted {
    fn from(task_id: &str) -> Self {
        task_id.to_owned().into()
    }
}

impl<W: Into<Wanted>> From<Vec<W>> for Wanted {
    fn from(several: Vec<W>) -> Self {
        Self(several.into_iter().flat_map(|each| each.into().0).collect())
    }
}

impl From<Error> for WaitError {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl From<Status> for WaitError {
    fn from(status: Status) -> Self {
        Self::Call(status.into())
    }
}

impl From<TaskFailed> for WaitError {
    fn from(failed: TaskFailed) -> Self {
        Self::Failed(failed)
    }
}

impl fmt::Display for TaskFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.failures.iter().map(|failure| format!("{}: {}", failure.id, failure.message)).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failed) => failed.fmt(f),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl StdError for TaskFailed {}

impl StdError for WaitError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Failed(_) => None,
            Self::Call(error) => error.source(),
        }
    }
}
