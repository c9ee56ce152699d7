# frozen_string_literal: true

require_relative "stage"

# Waiting for work: a backup of the gateway's, and the work of clients/frame/waits.py.
class WaitTest < Minitest::Test
  include Stage

  def test_waits
    own = gateway
    vault = protected_vault("ruby-waits")
    backup = CreateCheckpointRequest.new(checkpoint: CheckpointSpec.new(vault_id: vault.id))
    made, ended = own.run_and_wait(timeout: 120) { own.stub(CheckpointService).create_checkpoint(backup) }
    refute_empty made.checkpoint.id
    assert_equal [[:TASK_TYPE_BACKUP, :TASK_STATUS_SUCCEEDED]], ended.tasks.map { |task| [task.type, task.status] }
    assert_empty ended.skipped
    assert_equal ended.tasks.map(&:id), own.wait(ended.tasks, timeout: 60).tasks.map(&:id)
    same = DeleteVaultRequest.new(vault_id: vault.id, force: true)
    _, ended = own.run_and_wait(timeout: 120) { vaults.delete_vault(same) }
    assert_equal [:TASK_TYPE_VAULT_DELETE], ended.tasks.map(&:type)
    scripted_work
    passed "waits"
  end

  def test_what_cannot_be_waited_for_is_refused_at_once
    closed = gateway(ENV.fetch("CBR_TEST_CLOSED_ADDRESS"), authorities: nil, plaintext: true)
    [nil, "", Submission.new, Vault.new(id: "vault")].each { |wanted| assert_raises(ArgumentError) { closed.wait(wanted) } }
    assert_empty closed.wait([]).tasks
    [Float::NAN, "5", false].each { |odd| assert_match(/^timeout: /, assert_raises(ArgumentError) { closed.wait("task-1", timeout: odd) }.message) }
    checked = CreateCheckpointResponse.new(validation: ValidationResult.new)
    [checked, GetVaultResponse.new].each { |answer| assert_match(/no submission/, assert_raises(ArgumentError) { closed.run_and_wait { answer } }.message) }
  end

  def test_the_time_is_up_while_nobody_can_be_reached
    closed = gateway(ENV.fetch("CBR_TEST_CLOSED_ADDRESS"), authorities: nil, plaintext: true)
    error = failed(DEADLINE_EXCEEDED, "task-1") { closed.wait("task-1", timeout: 0.5) }
    assert_equal [:deadline, ["task-1"]], [error.kind, error.still_open]
    many = (0...12).map { |number| "task-#{number}" }
    assert_equal many, failed(DEADLINE_EXCEEDED, "task-9 and 2 more") { closed.wait(many, timeout: 0) }.still_open
  end

  def test_what_else_a_task_can_come_to
    work = CbrGateway::Work.new(%w[gone skipped unreadable])
    tasks = [Task.new(id: "gone", status: :TASK_STATUS_RUNNING), Task.new(id: "skipped", status: :TASK_STATUS_SKIPPED)]
    work.hear(WatchTasksResponse.new(snapshot_task: tasks.first))
    work.hear(WatchTasksResponse.new(terminal: TaskUpdate.new(task: tasks.last)))
    work.hear(WatchTasksResponse.new(removed: TaskRemoval.new(task_id: "gone", reason: :TASK_REMOVAL_REASON_GONE)))
    assert_equal %w[unreadable], work.still_open
    failure = Google::Rpc::Status.new(code: PERMISSION_DENIED, message: "CBR refuses it.")
    removed = TaskRemoval.new(task_id: "unreadable", reason: :TASK_REMOVAL_REASON_UNREADABLE, failure: failure)
    work.hear(WatchTasksResponse.new(removed: removed))
    failures = assert_raises(CbrGateway::TaskFailed) { work.ended }.failures.to_h { |each| [each.id, each] }
    assert_equal tasks, failures.values_at("gone", "skipped").map(&:task)
    assert_equal :ERROR_REASON_TASK_NOT_FOUND, failures["gone"].reason
    assert_equal "CBR refuses it.", failures["unreadable"].message
  end

  def test_a_removal_hides_no_end
    work = CbrGateway::Work.new(%w[ended])
    task = Task.new(id: "ended", status: :TASK_STATUS_SUCCEEDED)
    removed = WatchTasksResponse.new(removed: TaskRemoval.new(task_id: "ended"))
    [removed, WatchTasksResponse.new(terminal: TaskUpdate.new(task: task)), removed].each { |event| work.hear(event) }
    assert_equal [task], work.ended.tasks
  end

  def test_a_submission_that_cannot_be_decided
    work = CbrGateway::Work.new([Submission.new(id: "lost", state: :SUBMISSION_STATE_OUTCOME_UNKNOWN)])
    assert_equal %w[lost], work.still_open
    decided = Submission.new(id: "lost", state: :SUBMISSION_STATE_UNDECIDED, state_reason: "CBR shows nothing")
    found = Submission.new(id: "lost", state: :SUBMISSION_STATE_CORRELATING, task_ids: %w[task])
    work.hear(WatchTasksResponse.new(submission: found))
    assert_equal %w[task lost], work.still_open
    work.hear(WatchTasksResponse.new(submission: decided))
    assert_empty work.still_open
    (failure,) = assert_raises(CbrGateway::TaskFailed) { work.ended }.failures
    assert_equal ["lost", nil, :ERROR_REASON_OUTCOME_UNKNOWN], [failure.id, failure.task, failure.reason]
    assert_includes failure.message, "CBR shows nothing"
  end

  private

  def scripted_work
    ended = script.wait(submission("skipping"), timeout: 30)
    assert_equal [%w[good], [%w[left-out BackupService.6125]]], [ended.tasks.map(&:id), ended.skipped.map { |left| [left.id, left.code] }]
    failing = assert_raises(CbrGateway::TaskFailed) { script.wait(submission("failing"), timeout: 30) }
    assert_equal [["bad", "bad", "BackupService.1204", :ERROR_REASON_UPSTREAM_INTERNAL]],
                 (failing.failures.map { |each| [each.id, each.task.id, each.code, each.reason] })
    assert_equal %w[good], failing.ended.tasks.map(&:id)
    assert_match(/bad: The task failed in CBR. CBR: BackupService.1204/, failing.message)
    { "nothing" => :ERROR_REASON_UNSPECIFIED, "lost" => :ERROR_REASON_SUBMISSION_NOT_FOUND }.each do |name, reason|
      (failure,) = assert_raises(CbrGateway::TaskFailed) { script.wait(submission(name), timeout: 30) }.failures
      assert_equal [name, nil, reason], [failure.id, failure.task, failure.reason]
    end
    error = failed(DEADLINE_EXCEEDED, "slow") { script.wait([submission("open"), submission("skipping")], timeout: 1) }
    assert_equal [:deadline, %w[slow]], [error.kind, error.still_open]
    many = (1..250).map { |number| "task-#{number}" }
    assert_equal many, script.wait(many + many, timeout: 60).tasks.map(&:id)
  end

  def submission(name)
    Submission.new(id: name, state: :SUBMISSION_STATE_CORRELATING)
  end
end
