# frozen_string_literal: true

module CbrGateway
  # What work has come to: V1::Task objects as they ended, and V1::SkippedResource objects, resources that CBR left out of it. A change can succeed and
  # leave out every resource.
  Ended = Struct.new(:tasks, :skipped)

  # One part of work that did not succeed: `id` of a task or submission; `task` as it was last seen, or nil; `code` of CBR, such as
  # `BackupService.6125`, or empty; `reason` of V1::ErrorReason; `message` for people.
  Failure = Struct.new(:id, :task, :code, :reason, :message, keyword_init: true)

  # Work that has ended, and did not all succeed.
  class TaskFailed < StandardError
    # @return [Array<Failure>]
    attr_reader :failures
    # @return [Ended] what did succeed, and what was left out
    attr_reader :ended

    # @api private
    def initialize(failures, ended)
      super(failures.map { |failure| "#{failure.id}: #{failure.message}" }.join("\n"))
      @failures = failures
      @ended = ended
    end
  end

  # Work that is waited for: what has been heard of it, and what follows from that.
  # @api private
  class Work
    # @return [Array<String>]
    attr_reader :task_ids, :submission_ids

    # @param wanted [Array] submissions, tasks, and ids of tasks
    def initialize(wanted)
      @submissions = {}
      @tasks = {}
      @over = {}
      @removed = {}
      @task_ids = []
      wanted.each { |each| add(each) }
      @task_ids.uniq!
      @submission_ids = @submissions.keys
    end

    # Takes in an event of a watch.
    def hear(event)
      case event.event
      when :snapshot_task then @tasks[event.snapshot_task.id] = event.snapshot_task
      when :update then @tasks[event.update.task.id] = event.update.task
      when :terminal then over(event.terminal.task)
      when :submission then @submissions[event.submission.id] = event.submission
      when :removed then @removed[event.removed.task_id.empty? ? event.removed.submission_id : event.removed.task_id] = event.removed
      end
    end

    # @return [Array<String>] ids of tasks that have not ended, and of submissions whose tasks are not all known
    def still_open
      followed = @submissions.except(*@removed.keys).values
      found = followed.flat_map { |submission| submission.task_ids.to_a }
      unknown = followed.reject { |submission| settled?(submission) }
      ((@task_ids | @tasks.keys | found) - @over.keys - @removed.keys) + unknown.map(&:id)
    end

    # @return [Ended]
    # @raise [TaskFailed]
    def ended
      succeeded = @over.values.select { |task| task.status == :TASK_STATUS_SUCCEEDED }
      ended = Ended.new(succeeded, @submissions.values.flat_map { |submission| submission.skipped_resources.to_a })
      failures = (@over.values - succeeded).map { |task| Failures.of_task(task) }
      failures += @submissions.values.filter_map { |submission| Failures.of_submission(submission) unless @removed.key?(submission.id) }
      failures += @removed.except(*@over.keys).map { |id, removed| Failures.of_removal(id, removed, @tasks[id]) }
      raise TaskFailed.new(failures, ended) unless failures.empty?

      ended
    end

    private

    def add(wanted)
      case wanted
      when V1::Submission then @submissions[named(wanted.id)] = wanted
      when V1::Task then @task_ids << named(wanted.id)
      when String then @task_ids << named(wanted)
      else raise ArgumentError, "wait takes submissions, tasks and ids of tasks, not #{wanted.inspect}: an answer without submission started nothing " \
                                "that the gateway knows of"
      end
    end

    def named(id)
      id.empty? ? raise(ArgumentError, "wait: there is no id in what was given") : id
    end

    def over(task)
      @tasks[task.id] = @over[task.id] = task
    end

    def settled?(submission)
      !%i[SUBMISSION_STATE_UNSPECIFIED SUBMISSION_STATE_CORRELATING SUBMISSION_STATE_OUTCOME_UNKNOWN].include?(submission.state)
    end
  end

  # Why a part of work did not succeed.
  # @api private
  module Failures
    def self.of_task(task)
      error = task.error_info
      word = task.status_raw.empty? ? task.status.to_s.delete_prefix("TASK_STATUS_").downcase.tr("_", " ") : task.status_raw
      what = task.failure ? task.failure.message : "the task ended as #{word}"
      what = "#{what} CBR: #{error.code} #{error.message}".rstrip if error && !error.code.empty?
      Failure.new(id: task.id, task: task, code: error ? error.code : "", reason: reason(task.failure), message: what)
    end

    # @return [Failure, nil] nil where work was started, or CBR has said what it left out
    def self.of_submission(submission)
      case submission.state
      when :SUBMISSION_STATE_NOT_STARTED
        return unless submission.skipped_resources.empty?

        Failure.new(id: submission.id, code: "", reason: :ERROR_REASON_UNSPECIFIED, message: "nothing was started: the change was not made")
      when :SUBMISSION_STATE_UNDECIDED
        text = "it cannot be told whether CBR has made the change: #{submission.state_reason}"
        Failure.new(id: submission.id, code: "", reason: :ERROR_REASON_OUTCOME_UNKNOWN, message: text)
      end
    end

    def self.of_removal(id, removed, task)
      unknown = removed.task_id.empty? ? :ERROR_REASON_SUBMISSION_NOT_FOUND : :ERROR_REASON_TASK_NOT_FOUND
      return Failure.new(id: id, task: task, code: "", reason: reason(removed.failure), message: removed.failure.message) if removed.failure

      text = removed.reason == :TASK_REMOVAL_REASON_GONE ? "CBR does not show it any more, and did not show its end" : "there is no such one"
      Failure.new(id: id, task: task, code: "", reason: unknown, message: text)
    end

    # Our reason in a google.rpc.Status.
    def self.reason(status)
      info = status&.details&.find { |packed| packed.type_name == "google.rpc.ErrorInfo" }
      info ? Error.known(Descriptors.unpack(info)&.fetch(:reason).to_s) : :ERROR_REASON_UNSPECIFIED
    end
    private_class_method :reason
  end
end
