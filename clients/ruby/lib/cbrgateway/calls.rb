# frozen_string_literal: true

require "securerandom"

require_relative "descriptors"

module CbrGateway
  # What is put around the calls of a stub: who calls, a request_id for changes, and an {Error} for failures.
  # @api private
  module Calls
    # The request of a change with a request_id, in a copy if it had none: used again for another change the caller's message must not carry the id of
    # this one. In the request of a read it is a filter. gRPC repeats a call with the same bytes, so all its attempts have the same id.
    def self.identified(method, request)
      return request if Descriptors::READS.include?(method) || !request.respond_to?(:request_id) || !request.request_id.empty?

      request.dup.tap { |filled| filled.request_id = SecureRandom.uuid }
    end

    # @param metadata [#call] what each call carries
    def initialize(address, channel, metadata)
      super(address, nil, channel_override: channel, interceptors: [Typing.new(address)])
      @metadata = metadata
    end

    # An interceptor of gRPC cannot put another request in the place of the caller's, and is not asked for the metadata of a stream that is to be
    # cancelled: hence these two.
    def request_response(method, request, *codec, metadata: {}, **options)
      super(method, Calls.identified(method, request), *codec, metadata: @metadata.call.merge(metadata), **options)
    end

    def server_streamer(method, request, *codec, metadata: {}, **options, &block)
      events = super(method, request, *codec, metadata: @metadata.call.merge(metadata), **options)
      block ? events.each(&block) : events
    end

    # Raises an {Error} for what gRPC raises, and leaves alone what the reader of a stream raises between two events.
    class Typing < GRPC::ClientInterceptor
      def initialize(address)
        super()
        @address = address
      end

      def request_response(request:, **)
        yield
      rescue GRPC::BadStatus => e
        raise typed(e, request)
      end

      def server_streamer(request:, **)
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
        end
      rescue GRPC::BadStatus => e
        raise typed(e, request)
      end

      private

      def typed(failure, request)
        Error.new(failure, address: @address, request_id: request.respond_to?(:request_id) ? request.request_id : "")
      end
    end
  end
end
