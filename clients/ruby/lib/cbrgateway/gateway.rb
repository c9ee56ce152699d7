# frozen_string_literal: true

require_relative "address"
require_relative "calls"
require_relative "credentials"
require_relative "under_way"
require_relative "wait"
require_relative "watch"

module CbrGateway
  # How long each RPC may take and which are repeated, as JSON. {Gateway} uses it; a channel made in another way can, too.
  SERVICE_CONFIG = File.read(File.join(__dir__, "service_config.json"), encoding: "UTF-8").freeze

  # A connection, for any number of stubs, calls and threads. {CbrGateway.connect} makes one.
  class Gateway
    # Requests of up to 1 MiB are repeated, too; a connection that died silently is noticed while a call waits on it, and a gateway that is back is soon found
    # again.
    CHANNEL = {
      "grpc.service_config" => SERVICE_CONFIG,
      "grpc.per_rpc_retry_buffer_size" => 2 * 1024 * 1024,
      "grpc.keepalive_time_ms" => 30_000,
      "grpc.keepalive_timeout_ms" => 10_000,
      "grpc.http2.max_pings_without_data" => 0,
      "grpc.max_reconnect_backoff_ms" => 5_000
    }.freeze
    # So many ids a watch can name.
    MAX_IDS = 100
    # So many a text names.
    NAMED = 10
    private_constant :CHANNEL, :MAX_IDS, :NAMED

    # @param address [String] `host:port`, or a name that gRPC resolves, such as `dns:///host:port`
    # @param api_key [String] a key that the gateway's operator has made
    # @param token [#call] supplies a token (JWT) instead; it is asked for each call, so it should keep a token until shortly before the token expires.
    #   What it raises reaches the caller as it is
    # @param project [String] the project of all calls; without it they go to the tenant's default project
    # @param authorities [String] certificate authorities (PEM) to trust instead of the system's
    # @param plaintext [Boolean] does without TLS; the API key travels readable: for a gateway on this machine only
    # @param certificate [String] the caller's own certificate (PEM), for gateways that want one; with `key`
    # @param key [String] its private key (PEM)
    # @param certificate_file [String] the same in a file. gRPC for Ruby cannot read it again: what is in it now counts for this connection
    # @param key_file [String] likewise
    # @param credentials [GRPC::Core::ChannelCredentials] in the place of all of these
    # @param channel_args [Hash] options of gRPC's channel; they come before ours
    # @param interceptors [Array<GRPC::ClientInterceptor>] see each call as it is sent, the first of them first
    # @raise [ArgumentError] for what is no address, and when the options contradict each other, hold no certificate, or cannot be sent
    def initialize(address, api_key: nil, token: nil, project: nil, plaintext: false, channel_args: {}, interceptors: [], **tls)
      raise ArgumentError, "give api_key or token, not both" if api_key && token

      @address = Address.checked(address)
      @bearer = token || (api_key && sendable("api_key", api_key) && -> { api_key })
      @project = project && sendable("project", project)
      @plaintext = plaintext
      @interceptors = interceptors
      @channel = GRPC::ClientStub.setup_channel(nil, address, channel_credentials(**tls), CHANNEL.merge(channel_args))
      @under_way = UnderWay.new
    end

    # The RPCs of a service: `gateway.stub(CbrGateway::V1::VaultService).get_vault(request)`. The methods are those of gRPC; they take `deadline:`, a Time,
    # for a shorter deadline than the RPC has by itself.
    #
    # @param service [Module] one of {V1}
    # @return [GRPC::ClientStub]
    def stub(service)
      Class.new(service::Stub) { include Calls }.new(@address, @channel, @under_way, method(:metadata), @interceptors, @plaintext)
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

    # Waits for the end of work, by a watch; it asks for nothing again and again.
    #
    # @param what [V1::Submission, V1::Task, String, Array] what a change has answered, a task, the id of one, or several of these
    # @param timeout [Numeric, nil] seconds; nil: for as long as it takes
    # @return [Ended] if all tasks have succeeded
    # @raise [TaskFailed] once all has ended, if not all has succeeded
    # @raise [Error] of kind `:deadline`, with `still_open`, when the time is up: the work goes on. Otherwise as {#watch}
    # @raise [ArgumentError] for what has no id, before anything is sent
    def wait(what, timeout: nil)
      work = Work.new(what.is_a?(Array) ? what : [what])
      ends_at = timeout.nil? ? Float::INFINITY : CbrGateway.now + CbrGateway.number("timeout", timeout)
      filters = { task_ids: work.task_ids, submission_ids: work.submission_ids }
      filters.each { |field, ids| ids.each_slice(MAX_IDS) { |some| follow(work, V1::TaskFilter.new(field => some), ends_at) } }
      work.ended
    rescue Watch::Late
      open = work.still_open
      more = " and #{open.size - NAMED} more" if open.size > NAMED
      text = "not all has ended after #{timeout} s, and goes on: #{open.first(NAMED).join(', ')}#{more}"
      raise Error.new(GRPC::DeadlineExceeded.new(text), still_open: open)
    end

    # Makes a change, and waits for what it has started.
    #
    #   answer, ended = gateway.run_and_wait(timeout: 3600) { checkpoints.create_checkpoint(request) }
    #
    # @param (see #wait)
    # @yieldreturn an answer with a `submission`
    # @return [Array] what the block has returned, and {Ended}
    # @raise (see #wait)
    def run_and_wait(timeout: nil)
      answer = yield
      started = answer.submission if answer.respond_to?(:submission)
      return [answer, wait(started, timeout: timeout)] if started

      raise ArgumentError, "there is nothing to wait for: #{answer.class} has no submission, as after validate_only; the change itself has been made if it " \
                           "was asked for"
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

    def channel_credentials(credentials: nil, authorities: nil, certificate: nil, key: nil, certificate_file: nil, key_file: nil)
      given = [credentials, authorities, certificate, key, certificate_file, key_file].compact
      raise ArgumentError, "plaintext has no certificate: leave out authorities, certificate, key and credentials, or plaintext" if @plaintext && given.any?
      return :this_channel_is_insecure if @plaintext
      return credentials if credentials && given.one?
      raise ArgumentError, "credentials: leave out authorities, certificate and key, which they have already" if credentials

      Credentials.tls(authorities, Credentials.read("certificate", certificate, certificate_file), Credentials.read("key", key, key_file))
    end

    def follow(work, filter, ends_at)
      request = V1::WatchTasksRequest.new(filter: filter, end_when_all_terminal: true)
      Watch.new(stub(V1::TaskService), request, @under_way, ends_at).each { |event| work.hear(event) }
    end
  end
end
