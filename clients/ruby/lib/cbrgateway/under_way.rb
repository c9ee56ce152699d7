# frozen_string_literal: true

module CbrGateway
  # The calls of a connection, so that its end is theirs too. gRPC itself lets them go on when their channel is closed.
  #
  # {#close} takes no lock, so that the handler of a signal can call it.
  # @api private
  class UnderWay
    def initialize
      # A stream that its reader has dropped is left to the garbage collector, which ends it: hence weak.
      @operations = ObjectSpace::WeakMap.new
      @closed = false
      # Ruby hands signals over to a thread in a call of gRPC only where another one sleeps: without this one Ctrl-C waits until the call has ended.
      @listener = Thread.new { sleep }
    end

    # @yieldreturn [GRPC::ActiveCall::Operation] a call that is about to begin
    def add
      operation = yield
      @operations[operation] = true
      operation.cancel if closed?
      operation
    rescue RuntimeError => e
      # What gRPC says of a closed channel is "closed!".
      raise closed? ? Error.new(end_of_calls) : e
    end

    def closed?
      @closed
    end

    # How the calls fail that {#close} has ended, and those that come after it.
    def end_of_calls
      GRPC::Cancelled.new("the connection has been closed here; CbrGateway.connect makes a new one")
    end

    # Returns when it is closed, after so many seconds at the latest.
    def pause(seconds)
      @listener.join(seconds)
    end

    def close
      @closed = true # From here on a call that is added is ended there.
      @operations.keys.each(&:cancel)
      @listener.kill
    end
  end
end
