# frozen_string_literal: true

module CbrGateway
  # Who ended a call that the gateway did not answer, by the words of gRPC and of its library for TLS, and what to do about it.
  # @api private
  module Advice
    # What TLS says of a certificate that it does not accept. Other failures can have the word in them, too.
    OF_TLS = {
      expired_certificate: /certificate has expired|certificate is not yet valid|certificate.expired/i,
      untrusted: /certificate verify failed|CERTIFICATE_VERIFY_FAILED|is not in peer certificate/i,
      plaintext_expected: /wrong.version.number|packet length too long|http request/i
    }.freeze
    # A port with TLS says nothing of it to who speaks plain text: it closes each connection as it begins.
    CLOSED_AT_ONCE = /failed to connect.*(socket closed|connection reset)/im
    OTHER_PROTOCOL = /failed parsing http|http1.x server/i
    UNKNOWN_NAME = /DNS resolution failed|errors resolving/i

    TO_DO = {
      expired_certificate: "The gateway's operator renews it; if it is good, look at the clock of this machine.",
      untrusted: "Name the authorities that vouch for the gateway (authorities:), and call it by a name that its certificate has.",
      plaintext_expected: "Call with plaintext: true, or the port of a gateway with TLS.",
      tls_expected: "Leave out plaintext: true; if the gateway has no TLS, look whether it still runs.",
      other_protocol: "The port speaks another protocol, such as the admin port: use that of the services, 50051 unless the gateway is told otherwise.",
      unknown_name: "Check the host name in the address.",
      closed_at_once: "The gateway may want a certificate of the caller (certificate: and key:), or another one than it got; or it is just starting.",
      unreachable: "Check host and port of the address, and that the gateway runs there.",
      deadline: "Give the call more time (deadline:), and check address and port.",
      change: "It is not known whether the change was made: make it again with the same request_id, and it is made once. " \
              "Give it more time (deadline:), and check address and port.",
      credential: "Check the credential, or ask the gateway's operator for one.",
      not_this_api: "What answers at this address does not have the RPC: it may be the health port (50052 unless told otherwise; the services " \
                    "are at 50051), another service, or an older gateway."
    }.freeze

    # @return [Symbol] the kind of a failure to reach the gateway
    def self.kind(text, plaintext)
      return text.match?(CLOSED_AT_ONCE) ? :tls_expected : :unreachable if plaintext

      OF_TLS.find { |_, words| text.match?(words) }&.first || :unreachable
    end

    # @return [String] what to do; empty where the gateway's own text says it
    def self.for(error)
      case error.kind
      when :unreachable then TO_DO[trouble(error.details)]
      when :deadline then error.still_open.empty? ? TO_DO[error.request_id.empty? ? :deadline : :change] : ""
      when :answered then error.reason_name == "CREDENTIALS_INVALID" ? TO_DO[:credential] : ""
      when :other then error.code_name == :UNIMPLEMENTED ? TO_DO[:not_this_api] : ""
      else TO_DO.fetch(error.kind)
      end
    end

    def self.trouble(text)
      case text
      when OTHER_PROTOCOL then :other_protocol
      when UNKNOWN_NAME then :unknown_name
      when CLOSED_AT_ONCE then :closed_at_once
      else :unreachable
      end
    end
    private_class_method :trouble
  end
end
