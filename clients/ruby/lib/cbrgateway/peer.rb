# frozen_string_literal: true

require "openssl"
require "socket"

module CbrGateway
  # A look at the certificate of a gateway that TLS has not accepted, since gRPC does not tell why.
  # @api private
  module Peer
    TIMEOUT_S = 3

    # @param address [String] `host:port`
    # @return [Boolean] whether the certificate there is out of date, or not valid yet; false if that cannot be seen
    def self.expired?(address)
      host, _, port = address.rpartition(":")
      certificate = Socket.tcp(host.delete("[]"), port, connect_timeout: TIMEOUT_S) { |socket| certificate_of(socket, host) }
      !Time.now.between?(certificate.not_before, certificate.not_after)
    rescue SystemCallError, SocketError, OpenSSL::SSL::SSLError, IOError
      false
    end

    # Nothing is sent but the handshake, so that nothing needs to be verified.
    def self.certificate_of(socket, host)
      context = OpenSSL::SSL::SSLContext.new
      context.verify_mode = OpenSSL::SSL::VERIFY_NONE
      context.alpn_protocols = ["h2"]
      connection = OpenSSL::SSL::SSLSocket.new(socket, context)
      connection.hostname = host
      ends_at = CbrGateway.now + TIMEOUT_S
      while (wanted = connection.connect_nonblock(exception: false)).is_a?(Symbol)
        left_s = [ends_at - CbrGateway.now, 0].max
        ready = wanted == :wait_readable ? socket.wait_readable(left_s) : socket.wait_writable(left_s)
        raise IOError, "no handshake in time" unless ready
      end
      connection.peer_cert
    end
    private_class_method :certificate_of
  end
end
