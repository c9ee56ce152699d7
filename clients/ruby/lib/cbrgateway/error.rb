# frozen_string_literal: true

require "google/rpc/code_pb"

require_relative "advice"
require_relative "descriptors"
require_relative "peer"

module CbrGateway
  # What every failed call of a stub of {Gateway#stub} raises. It is a GRPC::BadStatus with everything that the gateway has said unpacked; its `cause` is
  # what gRPC raised, such as GRPC::NotFound.
  class Error < GRPC::BadStatus
    # @return [Symbol] who ended the call: `:answered`, the gateway did, with a reason; `:unreachable`, nobody answers at the address, or the connection
    #   broke; `:untrusted`, the gateway's certificate is not of an authority that is trusted here, or not for this address; `:expired_certificate`, it is
    #   out of date, or not valid yet; `:plaintext_expected` or `:tls_expected` by the port; `:deadline`, the time was over; `:other`, something else,
    #   such as a cancelled call
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
    # @return [Array<String>] of {Gateway#wait} whose time was up: ids of tasks that have not ended, and of submissions whose tasks are not all known
    attr_reader :still_open

    # @api private
    # @return [Symbol] of V1::ErrorReason
    def self.known(name)
      known = :"ERROR_REASON_#{name}"
      V1::ErrorReason.resolve(known) ? known : :ERROR_REASON_OTHER
    end

    # @api private
    # @param failure [GRPC::BadStatus] what gRPC raised
    def initialize(failure, address: nil, plaintext: false, request_id: "", still_open: [])
      # gRPC hands texts over as bytes.
      super(failure.code, String.new(failure.details, encoding: "UTF-8").scrub, failure.metadata, failure.debug_error_string)
      @kind = :other
      @reason = :ERROR_REASON_UNSPECIFIED
      @reason_name = @call_id = ""
      @request_id = request_id
      @fields = @preconditions = @quotas = []
      @facts = {}
      @still_open = still_open
      failure.to_rpc_status&.details&.each { |packed| add(packed.type_name, Descriptors.unpack(packed)) }
      head = explained(address, plaintext)
      @message = [head, *each_field, *Advice.for(self).then { |advice| advice unless advice.empty? }, *ids].join("\n  ")
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
      @kind = :answered
      @reason = Error.known(reason)
      @reason_name = reason
      @facts = metadata
    end

    def seconds(seconds: 0, nanos: 0)
      seconds + (nanos / 1e9)
    end

    # Finds the kind of what the gateway did not answer.
    def explained(address, plaintext)
      return "#{code_name} #{reason_name}: #{details}" if kind == :answered

      case code
      when GRPC::Core::StatusCodes::DEADLINE_EXCEEDED
        @kind = :deadline
        still_open.empty? ? "the deadline passed before the gateway answered: #{details}" : details
      when GRPC::Core::StatusCodes::UNAVAILABLE
        @kind = Advice.kind(details, plaintext)
        @kind = :expired_certificate if kind == :untrusted && address && Peer.expired?(address)
        address ? unavailable("the gateway at #{address}") : details
      else
        details
      end
    end

    def unavailable(gateway)
      case kind
      when :untrusted then "the certificate of #{gateway} is not trusted: #{details}"
      when :expired_certificate then "the certificate of #{gateway} has expired, or is not valid yet: #{details}"
      when :plaintext_expected then "#{gateway} speaks plain text, and was called with TLS: #{details}"
      when :tls_expected then "#{gateway} closes connections in plain text, as one with TLS does: #{details}"
      else "#{gateway} cannot be reached: #{details}"
      end
    end

    # The text names the first one.
    def each_field
      fields.size > 1 ? fields.map { |field| "#{field[:field]}: #{field[:description]}" } : []
    end

    def ids
      { "request_id" => request_id, "call" => call_id }.reject { |_, id| id.empty? }.map { |name, id| "#{name} #{id}" }
    end
  end
end
