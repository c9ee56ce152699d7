# frozen_string_literal: true

require "securerandom"

require_relative "descriptors"

module CbrGateway
  # What is put around the calls of a stub: who calls, a request_id for changes, and an {Error} for failures.
  # @api private
  module Calls
    # The request of a change with a request_id, in a copy if it had none: used again for another change the caller's message must not carry the id of
    # this one. In the request of a read it is a filter. gRPC repeats a call with the same bytes, so all its attempts have the same id; so do the tries of
    # {CbrGateway.retry_when_limited}.
    def self.identified(method, request)
      return request if Descriptors::READS.include?(method) || !request.respond_to?(:request_id) || !request.request_id.empty?

      request.dup.tap { |filled| filled.request_id = CbrGateway.request_id || SecureRandom.uuid }
    end

    # @param under_way [UnderWay] where each call is kept
    # @param metadata [#call] what each call carries
    # @param interceptors [Array<GRPC::ClientInterceptor>] those of the caller, which come after ours
    # @param plaintext [Boolean] whether there is no TLS
    def initialize(address, channel, under_way, metadata, interceptors, plaintext)
      super(address, nil, channel_override: channel, interceptors: [*interceptors.reverse, Typing.new(address, under_way, plaintext)])
      @under_way = under_way
      @metadata = metadata
    end

    # An interceptor of gRPC cannot put another request in the place of the caller's, is not asked for the metadata of a stream that is to be cancelled,
    # and cannot cancel a call: hence these two.
    def request_response(method, request, *codec, metadata: {}, return_op: false, **options)
      request = Calls.identified(method, request)
      metadata = @metadata.call.merge(metadata)
      operation = @under_way.add { super(method, request, *codec, metadata: metadata, return_op: true, **options) }
      return_op ? operation : operation.execute
    end

    def server_streamer(method, request, *codec, metadata: {}, return_op: false, **options, &block)
      metadata = @metadata.call.merge(metadata)
      operation = @under_way.add { super(method, request, *codec, metadata: metadata, return_op: true, **options, &nil) }
      return operation if return_op

      events = operation.execute
      block ? events.each(&block) : events
    end

    # Raises an {Error} for what gRPC raises, and leaves alone what the reader of a stream raises between two events.
    class Typing < GRPC::ClientInterceptor
      # By gRPC's clock a deadline is up to so much early.
      CLOCKS_DIFFER_S = 2

      def initialize(address, under_way, plaintext)
        super()
        @address = address
        @plaintext = plaintext
        @under_way = under_way
      end

      def request_response(request:, **)
        yield
      rescue GRPC::BadStatus => e
        raise typed(e, request)
      end

      def server_streamer(request:, call:, **)
        events = yield
        Enumerator.new do |out|
          reading = true
          events.each do |event|
            reading = false
            out << event
            reading = true
          end
        rescue GRPC::BadStatus => e
          raise reading ? typed(e, request) : e
        rescue GRPC::Core::CallError => e
          raise reading ? typed(ended_early(call), request) : e
        end
      rescue GRPC::BadStatus => e
        raise typed(e, request)
      end

      private

      # gRPC cannot tell the status of a stream that was ended here, before the gateway has said anything.
      def ended_early(call)
        timed = call.deadline.is_a?(Time) && call.deadline - CLOCKS_DIFFER_S <= Time.now
        timed ? GRPC::DeadlineExceeded.new("nothing was heard") : GRPC::Cancelled.new("cancelled before the gateway has said anything")
      end

      def typed(failure, request)
        failure = @under_way.end_of_calls if @under_way.closed? && failure.code == GRPC::Core::StatusCodes::CANCELLED
        Error.new(failure, address: @address, plaintext: @plaintext, request_id: request.respond_to?(:request_id) ? request.request_id : "")
      end
    end
  end
end
