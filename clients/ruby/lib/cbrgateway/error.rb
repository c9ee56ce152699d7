# frozen_string_literal: true

require "google/rpc/code_pb"

require_relative "descriptors"

module CbrGateway
  # What every failed call of a stub of {Gateway#stub} raises. It is a GRPC::BadStatus with everything that the gateway has said unpacked; its `cause` is
  # what gRPC raised, such as GRPC::NotFound.
  class Error < GRPC::BadStatus
    # What TLS says of a certificate that it does not accept; other failures can have the word in them, too.
    UNTRUSTED = /certificate verify failed|CERTIFICATE_VERIFY_FAILED|is not in peer certificate/i
    private_constant :UNTRUSTED

    # @return [Symbol] who ended the call: `:answered`, the gateway did, with a reason; `:unreachable`, nobody answers at the address, or the connection
    #   broke; `:untrusted`, the gateway's certificate is not of an authority that is trusted here, or not for this address; `:deadline`, the time was
    #   over; `:other`, something else, such as a cancelled call
    attr_reader :kind
    # @return [Symbol] of V1::ErrorReason; `:ERROR_REASON_OTHER` for one that is newer than this package, `:ERROR_REASON_UNSPECIFIED` without an answer
    attr_reader :reason
    # @return [String] the reason as the gateway has sent it, such as `FIELD_INVALID`
    attr_reader :reason_name
    # @return [Array<Hash>] fields that break a rule: `:field`, `:description`, `:reason`
    attr_reader :fields
    # @return [Array<Hash>] what stands in the way: `:type`, `:subject`, `:description`
    attr_reader :preconditions
    # @return [Array<Hash>] limits that do not allow the call: `:quota_metric`, `:quota_id`, `:quota_value`, `:subject` and what else QuotaFailure has
    attr_reader :quotas
    # @return [Hash, nil] the object that is to blame: `:resource_type`, `:resource_name`
    attr_reader :resource
    # @return [Float, nil] seconds to wait before a repeat; nil where the gateway did not say
    attr_reader :retry_delay
    # @return [String] of a change: repeat it with this id to learn what became of it
    attr_reader :request_id
    # @return [String] the gateway's id of this call, for its operator
    attr_reader :call_id
    # @return [Hash{String => String}] facts, such as `sent` and `attempts`
    attr_reader :facts

    # @api private
    # @param failure [GRPC::BadStatus] what gRPC raised
    def initialize(failure, address: nil, request_id: "")
      # gRPC hands texts over as bytes.
      super(failure.code, String.new(failure.details, encoding: "UTF-8").scrub, failure.metadata, failure.debug_error_string)
      @kind = :other
      @reason = :ERROR_REASON_UNSPECIFIED
      @reason_name = @call_id = ""
      @request_id = request_id
      @fields = @preconditions = @quotas = []
      @facts = {}
      failure.to_rpc_status&.details&.each { |packed| add(packed.type_name, Descriptors.unpack(packed)) }
      @message = explained(address)
    end

    # @api private
    # How a stream ends that does not tell its end.
    def self.lost(what)
      new(GRPC::Unavailable.new("the stream was lost: #{what}"))
    end

    # @return [Symbol] the name of the code, such as `:NOT_FOUND`
    def code_name
      Google::Rpc::Code.lookup(code)
    end

    # @return [String] what happened, for people
    def to_s
      @message
    end

    private

    def add(kind, detail)
      return unless detail

      case kind
      when "google.rpc.ErrorInfo" then answered(**detail)
      when "google.rpc.RequestInfo" then @call_id = detail[:request_id]
      when "google.rpc.RetryInfo" then @retry_delay = seconds(**detail[:retry_delay].to_h)
      when "google.rpc.BadRequest" then @fields = detail[:field_violations]
      when "google.rpc.PreconditionFailure" then @preconditions = detail[:violations]
      when "google.rpc.QuotaFailure" then @quotas = detail[:violations]
      when "google.rpc.ResourceInfo" then @resource = detail
      end
    end

    def answered(reason:, metadata:, **)
      known = :"ERROR_REASON_#{reason}"
      @kind = :answered
      @reason = V1::ErrorReason.resolve(known) ? known : :ERROR_REASON_OTHER
      @reason_name = reason
      @facts = metadata
    end

    def seconds(seconds: 0, nanos: 0)
      seconds + (nanos / 1e9)
    end

    # Finds the kind of what the gateway did not answer.
    def explained(address)
      return "#{code_name} #{reason_name}: #{details} (call #{call_id})" if kind == :answered

      case code
      when GRPC::Core::StatusCodes::DEADLINE_EXCEEDED
        @kind = :deadline
        "the deadline passed before the gateway answered: #{details}"
      when GRPC::Core::StatusCodes::UNAVAILABLE
        unavailable(address)
      else
        details
      end
    end

    def unavailable(address)
      @kind = details.match?(UNTRUSTED) ? :untrusted : :unreachable
      return details unless address
      return "the certificate of the gateway at #{address} is not trusted: #{details}" if kind == :untrusted

      "the gateway at #{address} cannot be reached: #{details}"
    end
  end
end
