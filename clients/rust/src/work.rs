use std::collections::HashMap;

use tonic::Status;

use crate::Error;
use crate::error::reason_in;
use crate::v1::watch_tasks_response::Event;
use crate::v1::{ErrorReason, Submission, SubmissionState, Task, TaskRemoval, TaskRemovalReason, TaskStatus, WatchTasksResponse};
use crate::wait::{Ended, FailedWork, One, TaskFailed, WaitError, Wanted};

/// Work that is waited for: what has been heard of it, and what follows from that.
#[derive(Default)]
pub(crate) struct Work {
    tasks: Ordered<Seen>,
    submissions: Ordered<Followed>,
    named_tasks: Vec<String>,
}

#[derive(Default)]
struct Seen {
    task: Option<Task>,
    over: bool,
    removed: Option<TaskRemoval>,
}

#[derive(Default)]
struct Followed {
    submission: Submission,
    removed: Option<TaskRemoval>,
}

impl Work {
    /// Fails for what has no id.
    pub(crate) fn new(wanted: Wanted) -> Result<Self, Error> {
        let mut work = Self::default();
        for one in wanted.0 {
            match one {
                One::Submission(submission) if !submission.id.is_empty() => {
                    work.follow(submission);
                }
                One::Task(id) if !id.is_empty() => {
                    work.tasks.at(&id);
                }
                _ => {
                    let text = "there is nothing to wait for: what was given has no id. An answer without submission, as after \
                        validate_only, has started nothing that the gateway knows of";
                    return Err(Status::invalid_argument(text).into());
                }
            }
        }
        work.named_tasks.clone_from(&work.tasks.order);
        Ok(work)
    }

    /// Ids of tasks, and of submissions, that were asked for.
    pub(crate) fn ids(&self) -> (Vec<String>, Vec<String>) {
        (self.named_tasks.clone(), self.submissions.order.clone())
    }

    pub(crate) fn hear(&mut self, event: WatchTasksResponse) {
        match event.event {
            Some(Event::SnapshotTask(task)) => self.see(task, false),
            Some(Event::Update(update)) => self.see(update.task.unwrap_or_default(), false),
            Some(Event::Terminal(update)) => self.see(update.task.unwrap_or_default(), true),
            Some(Event::Submission(submission)) => self.follow(submission),
            Some(Event::Removed(removal)) if removal.task_id.is_empty() => {
                self.submissions.at(&removal.submission_id).removed = Some(removal.clone());
            }
            Some(Event::Removed(removal)) => self.tasks.at(&removal.task_id).removed = Some(removal.clone()),
            _ => {}
        }
    }

    fn follow(&mut self, submission: Submission) {
        let id = submission.id.clone();
        *self.submissions.at(&id) = Followed { submission, removed: None };
    }

    fn see(&mut self, task: Task, over: bool) {
        let id = task.id.clone();
        *self.tasks.at(&id) = Seen { task: Some(task), over, removed: None };
    }

    /// Ids of tasks that have not ended, and of submissions whose tasks are not all known.
    pub(crate) fn still_open(&self) -> Vec<String> {
        let followed = || self.submissions.all().filter(|(_, each)| each.removed.is_none());
        let found = followed().flat_map(|(_, each)| &each.submission.task_ids).filter(|id| !self.tasks.has(id));
        let seen = self.tasks.all().filter(|(_, seen)| !seen.over && seen.removed.is_none()).map(|(id, _)| id);
        let unsettled = followed().filter(|(_, each)| !is_settled(&each.submission)).map(|(id, _)| id);
        seen.chain(found).chain(unsettled).cloned().collect()
    }

    /// What it has come to, once all has ended.
    pub(crate) fn ended(self) -> Result<Ended, WaitError> {
        let mut ended = Ended::default();
        let mut failures = Vec::new();
        for (id, seen) in self.tasks.into_all() {
            match (seen.task, seen.removed.filter(|_| !seen.over)) {
                (task, Some(removal)) => failures.push(of_removal(id, task, &removal, ErrorReason::TaskNotFound)),
                (Some(task), None) if task.status() == TaskStatus::Succeeded => ended.tasks.push(task),
                (Some(task), None) if seen.over => failures.push(of_task(task)),
                _ => {}
            }
        }
        for (id, followed) in self.submissions.into_all() {
            match followed.removed {
                Some(removal) => failures.push(of_removal(id, None, &removal, ErrorReason::SubmissionNotFound)),
                None => failures.extend(of_submission(&followed.submission)),
            }
            ended.skipped.extend(followed.submission.skipped_resources);
        }
        if failures.is_empty() { Ok(ended) } else { Err(TaskFailed { failures, ended }.into()) }
    }
}

fn is_settled(submission: &Submission) -> bool {
    use SubmissionState::{Correlating, OutcomeUnknown, Unspecified};
    !matches!(submission.state(), Unspecified | Correlating | OutcomeUnknown)
}

fn of_task(task: Task) -> FailedWork {
    let word = if task.status_raw.is_empty() { task.status().as_str_name() } else { &task.status_raw };
    let mut message = match &task.failure {
        Some(failure) => failure.message.clone(),
        None => format!("the task ended as {word}"),
    };
    let error = task.error_info.clone().unwrap_or_default();
    if !error.code.is_empty() {
        message = format!("{message} CBR: {} {}", error.code, error.message);
    }
    let reason = reason_in(task.failure.as_ref());
    FailedWork { id: task.id.clone(), code: error.code, reason, message: message.trim_end().to_owned(), task: Some(task) }
}

/// None where work was started, or CBR has said what it left out.
fn of_submission(submission: &Submission) -> Option<FailedWork> {
    let (reason, message) = match submission.state() {
        SubmissionState::NotStarted if submission.skipped_resources.is_empty() => {
            (ErrorReason::Unspecified, "nothing was started: the change was not made".to_owned())
        }
        SubmissionState::Undecided => {
            let text = format!("it cannot be told whether CBR has made the change: {}", submission.state_reason);
            (ErrorReason::OutcomeUnknown, text)
        }
        _ => return None,
    };
    Some(FailedWork { id: submission.id.clone(), task: None, code: String::new(), reason, message })
}

fn of_removal(id: String, task: Option<Task>, removal: &TaskRemoval, unknown: ErrorReason) -> FailedWork {
    let (reason, message) = match (&removal.failure, removal.reason()) {
        (Some(failure), _) => (reason_in(Some(failure)), failure.message.clone()),
        (None, TaskRemovalReason::Gone) => (unknown, "CBR does not show it any more, and did not show its end".into()),
        (None, _) => (unknown, "there is no such one".into()),
    };
    FailedWork { id, task, code: String::new(), reason, message }
}

/// Values by id, in the order in which they came.
struct Ordered<T> {
    order: Vec<String>,
    values: HashMap<String, T>,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { order: Vec::new(), values: HashMap::new() }
    }
}

impl<T: Default> Ordered<T> {
    fn at(&mut self, id: &str) -> &mut T {
        if !self.values.contains_key(id) {
            self.order.push(id.to_owned());
        }
        self.values.entry(id.to_owned()).or_default()
    }

    fn has(&self, id: &str) -> bool {
        self.values.contains_key(id)
    }

    fn all(&self) -> impl Iterator<Item = (&String, &T)> {
        self.order.iter().filter_map(|id| Some((id, self.values.get(id)?)))
    }

    fn into_all(mut self) -> impl Iterator<Item = (String, T)> {
        self.order.into_iter().filter_map(move |id| Some((self.values.remove(&id)?, id))).map(|(value, id)| (id, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::google::rpc;
    use crate::v1::TaskUpdate;

    fn heard(work: &mut Work, event: Event) {
        work.hear(WatchTasksResponse { event: Some(event), ..WatchTasksResponse::default() });
    }

    fn task(id: &str, status: TaskStatus) -> Task {
        Task { id: id.into(), status: status.into(), ..Task::default() }
    }

    fn failures(work: Work) -> HashMap<String, FailedWork> {
        match work.ended() {
            Err(WaitError::Failed(failed)) => failed.failures.into_iter().map(|each| (each.id.clone(), each)).collect(),
            other => panic!("it has not failed: {other:?}"),
        }
    }

    #[test]
    fn what_else_a_task_can_come_to() {
        let mut work = Work::new(vec!["gone", "skipped", "unreadable"].into()).expect("there are ids");
        heard(&mut work, Event::SnapshotTask(task("gone", TaskStatus::Running)));
        let skipped = Some(task("skipped", TaskStatus::Skipped));
        heard(&mut work, Event::Terminal(TaskUpdate { task: skipped, ..TaskUpdate::default() }));
        let reason = TaskRemovalReason::Gone.into();
        heard(&mut work, Event::Removed(TaskRemoval { task_id: "gone".into(), reason, ..TaskRemoval::default() }));
        assert_eq!(work.still_open(), ["unreadable"]);
        let failure = Some(rpc::Status { message: "CBR refuses it.".into(), ..rpc::Status::default() });
        heard(&mut work, Event::Removed(TaskRemoval { task_id: "unreadable".into(), failure, ..TaskRemoval::default() }));
        let failures = failures(work);
        assert_eq!(failures["gone"].task.as_ref().map(Task::status), Some(TaskStatus::Running));
        assert_eq!(failures["gone"].reason, ErrorReason::TaskNotFound);
        assert_eq!(failures["skipped"].task.as_ref().map(Task::status), Some(TaskStatus::Skipped));
        assert_eq!(failures["unreadable"].message, "CBR refuses it.");
    }

    #[test]
    fn a_removal_hides_no_end() {
        let removed = || Event::Removed(TaskRemoval { task_id: "ended".into(), ..TaskRemoval::default() });
        let task = Some(task("ended", TaskStatus::Succeeded));
        let mut work = Work::new("ended".into()).expect("there is an id");
        for event in [removed(), Event::Terminal(TaskUpdate { task, ..TaskUpdate::default() }), removed()] {
            heard(&mut work, event);
        }
        assert!(work.ended().is_ok_and(|ended| ended.tasks.len() == 1));
    }

    #[test]
    fn a_submission_that_cannot_be_decided() {
        let state = |state: SubmissionState| Submission { id: "lost".into(), state: state.into(), ..Submission::default() };
        let mut work = Work::new(state(SubmissionState::OutcomeUnknown).into()).expect("there is an id");
        let found = Submission { task_ids: vec!["task".into()], ..state(SubmissionState::Correlating) };
        heard(&mut work, Event::Submission(found));
        assert_eq!(work.still_open(), ["task", "lost"]);
        heard(&mut work, Event::Submission(state(SubmissionState::Undecided)));
        assert!(work.still_open().is_empty());
        assert_eq!(failures(work)["lost"].reason, ErrorReason::OutcomeUnknown);
    }

    #[test]
    fn what_has_no_id_is_refused() {
        for wanted in [Wanted::from(None), "".into(), Submission::default().into(), Task::default().into()] {
            assert_eq!(Work::new(wanted).err().map(|error| error.code), Some(tonic::Code::InvalidArgument));
        }
        assert!(Work::new(Vec::<String>::new().into()).is_ok_and(|work| work.ended().is_ok()));
    }
}
