# frozen_string_literal: true

module CbrGateway
  # Where a gateway is, and the mistakes that are made in writing it down: clients/addresses.json has them for all languages.
  # @api private
  module Address
    # How a name begins that gRPC itself resolves.
    OF_GRPC = %r{\A(?:(?:dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):|[a-z][a-z0-9+.-]*:///)}
    IPV6 = /\A[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%.*)?\z/
    # Host, and what stands behind the colon.
    PLACE = /\A(?<host>[\w.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\])(?::(?<port>.*))?\z/
    private_constant :OF_GRPC, :IPV6, :PLACE

    # @return [String] the address
    # @raise [ArgumentError] with what to write, for what can be no address
    def self.checked(address)
      wrong = mistake(address) or return address
      raise ArgumentError, "the address #{address.inspect} #{wrong}"
    end

    def self.mistake(address)
      return "is empty: write host:port" if address.to_s.empty?
      return if address.match?(OF_GRPC)
      return "is a URL: write #{of_url(address)}, and leave TLS to the options" if address.include?("://")
      return "is IPv6 without brackets: write it as [::1]:50051" if address.match?(IPV6)

      place = PLACE.match(address) or return "is not host:port: write it as 127.0.0.1:50051"
      return "has no port: write #{place[:host]}:50051" unless place[:port]

      "has no port from 1 to 65535: write #{place[:host]}:50051" unless port?(place[:port])
    end

    # The place of a URL as an address, as far as it has one.
    def self.of_url(address)
      place = address.partition("://").last[%r{\A[^/?#]*}]
      place += ":50051" unless place.rpartition("]").last.include?(":")
      mistake(place) ? "host:port" : place
    end

    def self.port?(text)
      text.match?(/\A[0-9]{1,5}\z/) && text.to_i.between?(1, 65_535)
    end
    private_class_method :mistake, :of_url, :port?
  end
end
