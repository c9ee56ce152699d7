# frozen_string_literal: true

module CbrGateway
  # One watch over all its streams, and what is remembered between them.
  #
  # | a stream ended with | then |
  # |---|---|
  # | OK and `stream_end` ALL_TERMINAL | the watch is over |
  # | OK and another `stream_end` | a new stream with the token, after `retry_delay` |
  # | OK without it, UNAVAILABLE, ABORTED, CANCELLED, silence, a hole in `sequence` | a new stream with the token, after a growing pause |
  # | RESOURCE_EXHAUSTED, when the watch has a token | the same: the places of lost streams are still taken for a while |
  # | INTERNAL or UNKNOWN that is not from the gateway | the same: something in between broke the stream |
  # | OUT_OF_RANGE, when the watch has a token | a `gap` for the caller, and a new stream that begins with a snapshot |
  # | anything else, or no sign of life for a minute, or the end of the connection | the error is raised |
  #
  # @api private
  class Watch
    include GRPC::Core::StatusCodes

    DEFAULT_HEARTBEAT_S = 20
    # The gateway refuses one that is longer, and any that is not positive.
    LONGEST_HEARTBEAT_S = 3600
    MISSED_HEARTBEATS = 2.5
    FIRST_PAUSE_S = 0.2
    LONGEST_PAUSE_S = 20
    # Without a sign of life for longer, the next failure ends the watch.
    RECONNECT_TIMEOUT_S = 60
    # Tasks whose last revision is known. One that was forgotten may be told twice.
    MAX_REMEMBERED = 10_000

    # The time of the watch is up.
    class Late < StandardError; end

    # @param ends_at [Float] when its time is up, by {CbrGateway.now}
    def initialize(tasks, request, under_way, ends_at = Float::INFINITY)
      @tasks = tasks
      @under_way = under_way
      @ends_at = ends_at
      @request = Google::Protobuf.deep_copy(request)
      @revisions = {}
      @heard_at = CbrGateway.now
      @failures = 0
    end

    # Yields the news of all streams.
    def each(&block)
      while (pause = after(stream(&block)))
        block.call(@gap) if @gap
        @under_way.pause(pause.clamp(0, left_s))
      end
    end

    private

    # Yields the news of one stream. Returns the error that ended it; nil for an end without one.
    def stream(&block)
      @sequence = 0
      @end = @gap = nil
      raise Late unless left_s.positive?

      call = @tasks.watch_tasks(@request, return_op: true)
      alarm = Alarm.new(-> { silence_s.clamp(0, left_s) }) { call.cancel }
      call.execute.each do |event|
        alarm.stop
        tell(event, &block) if news?(event)
        alarm.start
      end
      nil
    rescue Error => e
      raise if @telling
      raise Late unless left_s.positive? || @under_way.closed?

      alarm&.rung? ? Error.lost("no sign of life for #{silence_s} s") : e
    ensure
      alarm&.stop
    end

    # An Error that the caller's own block raises is none of the stream's, and the time that it takes is no silence.
    def tell(event)
      @telling = true
      yield event
      @telling = false
      @heard_at = CbrGateway.now
    end

    def left_s
      [@ends_at - CbrGateway.now, 0].max
    end

    # How long a healthy stream can be silent at most.
    def silence_s
      own_s = @request.heartbeat_interval.to_f
      MISSED_HEARTBEATS * (own_s.positive? && own_s <= LONGEST_HEARTBEAT_S ? own_s : DEFAULT_HEARTBEAT_S)
    end

    # Whether an event is news for the caller.
    def news?(event)
      raise Error.lost("event #{@sequence + 1} is missing, #{event.sequence} came instead") if event.sequence != @sequence + 1

      @sequence = event.sequence
      @failures = 0
      @heard_at = CbrGateway.now
      @request.resume_token = event.resume_token unless event.resume_token.empty?
      case event.event
      when :stream_end then !(@end = event.stream_end)
      when :snapshot_task then new?(event.snapshot_task)
      when :update then new?(event.update.task)
      when :terminal then new?(event.terminal.task)
      when :gap then forget
      else true
      end
    end

    # A snapshot follows that is told whole: what was known may be of before the gap.
    def forget
      @revisions.clear
      true
    end

    def new?(task)
      return false if task.revision <= @revisions.fetch(task.id, -1)

      @revisions.delete(task.id)
      @revisions[task.id] = task.revision
      @revisions.shift if @revisions.size > MAX_REMEMBERED
      true
    end

    # The pause after a stream's end; nil when the watch is over. Raises what ends it.
    def after(failure)
      return (@end.retry_delay.to_f unless @end.reason == :STREAM_END_REASON_ALL_TERMINAL) if failure.nil? && @end

      failure ||= Error.lost("it ended without stream_end")
      return begin_anew(failure) if failure.code == OUT_OF_RANGE && !@request.resume_token.empty?
      # The first failure after a sign of life never ends it: where heartbeats are rare, silence alone may have taken that long.
      raise failure if @under_way.closed? || !cut?(failure) || (@failures.positive? && CbrGateway.now - @heard_at > RECONNECT_TIMEOUT_S)

      longest_s = [LONGEST_PAUSE_S, FIRST_PAUSE_S * (2**[@failures, 10].min)].min
      @failures += 1
      [rand * longest_s, failure.retry_delay.to_f].max
    end

    def begin_anew(failure)
      @request.resume_token = ""
      @request.clear_include_snapshot
      forget
      @gap = V1::WatchTasksResponse.new(gap: V1::WatchGap.new(reason: failure.message))
      0
    end

    # Whether a new stream can go on where this one broke.
    def cut?(failure)
      case failure.code
      when UNAVAILABLE, ABORTED, CANCELLED then true
      when RESOURCE_EXHAUSTED then !@request.resume_token.empty? || failure.reason_name == "OVERLOADED"
      when INTERNAL, UNKNOWN then failure.kind != :answered
      else false
      end
    end

    # Rings in a thread of its own, when it has not been stopped for so long.
    class Alarm
      # @param seconds [#call]
      def initialize(seconds, &ring)
        @seconds = seconds
        @ring = ring
        start
      end

      def start
        seconds = @seconds.call
        @thread = Thread.new do
          sleep seconds
          @rung = true
          @ring.call
        end
      end

      def stop
        @thread.kill
      end

      def rung?
        @rung
      end
    end
  end
end
