# frozen_string_literal: true

require "openssl"

require_relative "calls"
require_relative "under_way"
require_relative "watch"

module CbrGateway
  # How long each RPC may take and which are repeated, as JSON. {Gateway} uses it; a channel made in another way can, too.
  SERVICE_CONFIG = File.read(File.join(__dir__, "service_config.json"), encoding: "UTF-8").freeze

  # A connection, for any number of stubs, calls and threads. {CbrGateway.connect} makes one.
  class Gateway
    # A connection that died silently is noticed while a call waits on it, and a gateway that is back is soon found again.
    CHANNEL = {
      "grpc.service_config" => SERVICE_CONFIG,
      "grpc.keepalive_time_ms" => 30_000,
      "grpc.keepalive_timeout_ms" => 10_000,
      "grpc.http2.max_pings_without_data" => 0,
      "grpc.max_reconnect_backoff_ms" => 5_000
    }.freeze
    private_constant :CHANNEL

    # @param address [String] `host:port`
    # @param api_key [String] a key that the gateway's operator has made
    # @param token [#call] supplies a token (JWT) instead; it is asked for each call, so it should keep a token until shortly before the token expires.
    #   What it raises reaches the caller as it is
    # @param project [String] the project of all calls; without it they go to the tenant's default project
    # @param authorities [String] certificate authorities (PEM) to trust instead of the system's
    # @param plaintext [Boolean] does without TLS; the API key travels readable: for a gateway on this machine only
    # @raise [ArgumentError] when the options contradict each other, hold no certificate, or cannot be sent
    def initialize(address, api_key: nil, token: nil, project: nil, authorities: nil, plaintext: false)
      raise ArgumentError, "give api_key or token, not both" if api_key && token
      raise ArgumentError, "plaintext has no certificate to check: leave out authorities, or plaintext" if plaintext && authorities

      @address = address
      @bearer = token || (api_key && sendable("api_key", api_key) && -> { api_key })
      @project = project && sendable("project", project)
      credentials = plaintext ? :this_channel_is_insecure : trusting(authorities)
      @channel = GRPC::ClientStub.setup_channel(nil, address, credentials, CHANNEL.dup)
      @under_way = UnderWay.new
    end

    # The RPCs of a service: `gateway.stub(CbrGateway::V1::VaultService).get_vault(request)`. The methods are those of gRPC; they take `deadline:`, a Time,
    # for a shorter deadline than the RPC has by itself.
    #
    # @param service [Module] one of {V1}
    # @return [GRPC::ClientStub]
    def stub(service)
      Class.new(service::Stub) { include Calls }.new(@address, @channel, @under_way, method(:metadata))
    end

    # Follows tasks through cuts and restarts of the gateway, until all are final (`end_when_all_terminal`) or the block is left.
    #
    # Yields every event but `stream_end` and those of a task that came before, by its id and revision. Handle `gap`: events may be missing, a snapshot
    # follows. A request with the `resume_token` of the last event goes on from there, also in another process.
    #
    # @param request [V1::WatchTasksRequest]
    # @yieldparam event [V1::WatchTasksResponse]
    # @return [Enumerator<V1::WatchTasksResponse>, nil] the events, if there is no block
    # @raise [Error] a refusal, a gateway that could not be reached for a minute, or {#close}
    def watch(request = V1::WatchTasksRequest.new, &block)
      return enum_for(:watch, request) unless block

      Watch.new(stub(V1::TaskService), request, @under_way).each(&block)
    end

    # Ends the calls and watches under way, in other threads, too: they raise an {Error} with the code CANCELLED, as later calls do.
    def close
      @under_way.close
      @channel.close
    end

    # @return [String] without the key and the token
    def inspect
      "#<#{self.class} #{@address}>"
    end

    private

    # Who calls, on each call.
    def metadata
      { "authorization" => @bearer && "Bearer #{sendable('token', @bearer.call)}", "x-cbr-project-id" => @project }.compact
    end

    # The value, if it can stand in a header. It is not shown, since it may be a secret.
    def sendable(name, value)
      return value if value.to_s.b.match?(/\A[!-~]+\z/)

      raise ArgumentError, "#{name}: it must be of visible ASCII characters, one or more, without spaces; a value from a file may need `chomp`"
    end

    # gRPC itself would trust a list that its gem brings; that is left for systems without one.
    def trusting(authorities)
      of_system = ENV.fetch(OpenSSL::X509::DEFAULT_CERT_FILE_ENV, OpenSSL::X509::DEFAULT_CERT_FILE)
      authorities ||= File.read(of_system) if File.exist?(of_system)
      OpenSSL::X509::Certificate.load(authorities) if authorities
      GRPC::Core::ChannelCredentials.new(authorities)
    rescue OpenSSL::X509::CertificateError
      raise ArgumentError, "authorities: no certificate in what was given; it must be PEM"
    end
  end
end
