# frozen_string_literal: true

require "openssl"

module CbrGateway
  # What TLS needs, from what {Gateway#initialize} was given.
  # @api private
  module Credentials
    # @return [GRPC::Core::ChannelCredentials]
    # @raise [ArgumentError] for what is no PEM, or does not belong together
    def self.tls(authorities, certificate, key)
      raise ArgumentError, "certificate and key: give both, or neither" if !certificate != !key

      authorities ||= of_system
      check("authorities", authorities) if authorities
      check_pair(certificate, key) if certificate
      GRPC::Core::ChannelCredentials.new(authorities, key, certificate)
    end

    # What was given in memory, or else in a file.
    def self.read(name, pem, file)
      raise ArgumentError, "#{name} and #{name}_file: give one of them" if pem && file

      pem || (file && File.read(file))
    end

    # gRPC itself would trust a list that its gem brings; that is left for systems without one.
    def self.of_system
      file = ENV.fetch(OpenSSL::X509::DEFAULT_CERT_FILE_ENV, OpenSSL::X509::DEFAULT_CERT_FILE)
      File.read(file) if File.exist?(file)
    end

    def self.check(name, pem)
      OpenSSL::X509::Certificate.load(pem)
    rescue OpenSSL::X509::CertificateError
      raise ArgumentError, "#{name}: no certificate in what was given; it must be PEM"
    end

    # gRPC would go without both, or fail in words that do not tell.
    def self.check_pair(certificate, key)
      private_key = OpenSSL::PKey.read(key, "")
      raise ArgumentError, "certificate and key: they do not belong together" unless check("certificate", certificate).first.check_private_key(private_key)
    rescue OpenSSL::PKey::PKeyError
      raise ArgumentError, "key: no private key in what was given; it must be PEM, and without a password"
    end
    private_class_method :of_system, :check, :check_pair
  end
end
