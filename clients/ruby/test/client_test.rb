# frozen_string_literal: true

require "google/rpc/status_pb"
require "socket"

require_relative "stage"

# One test per check of the frame, and what only Ruby can get wrong.
class ClientTest < Minitest::Test
  include Stage

  # By name, so that the one whose certificate is not trusted comes after those that need repeats: gRPC counts what fails at an address for the whole
  # process, and repeats nothing while it is much.
  def self.test_order
    :alpha
  end

  def test_unary
    created = vaults.create_vault(new_vault("ruby-unary")).vault
    assert_equal "ruby-unary", vaults.get_vault(GetVaultRequest.new(vault_id: created.id)).vault.name
    refute_empty vaults.list_vaults(ListVaultsRequest.new).vaults
    vaults.delete_vault(DeleteVaultRequest.new(vault_id: created.id))
    passed "unary"
  end

  def test_token
    token = -> { ENV.fetch("CBR_TEST_TOKEN") }
    vaults(api_key: nil, token: token).list_vaults(ListVaultsRequest.new)
    passed "token"
  end

  def test_error
    request = new_vault("ruby-error")
    request.vault.billing.size_gib = 5
    error = failed(INVALID_ARGUMENT, "FIELD_INVALID") { vaults.create_vault(request) }
    assert_equal [:answered, :ERROR_REASON_FIELD_INVALID, "FIELD_INVALID"], [error.kind, error.reason, error.reason_name]
    assert_equal(["vault.billing.size_gib"], error.fields.map { |field| field[:field] })
    refute_empty error.call_id
    refute_empty error.request_id
    assert_kind_of GRPC::InvalidArgument, error.cause
    passed "error"
  end

  def test_retry
    ask "/fault", operation: "CreateVault", kind: "cut", when: "after_commit", times: 1
    request = new_vault("ruby-retry")
    assert_equal "ruby-retry", vaults.create_vault(request).vault.name
    assert_equal "1", ask("/requests", operation: "CreateVault", containing: "ruby-retry")
    assert_empty request.request_id, "the caller's own message has been changed"
    passed "retry"
  end

  def test_quota
    limited = vaults(api_key: ENV.fetch("CBR_TEST_LIMITED_KEY"))
    error = failed(RESOURCE_EXHAUSTED, "RATE_LIMIT") { 50.times { limited.list_vaults(ListVaultsRequest.new) } }
    assert_operator error.retry_delay, :>, 0
    assert_equal(["requests"], error.quotas.map { |quota| quota[:quota_metric] })
    began = CbrGateway.now
    CbrGateway.retry_when_limited(Float::INFINITY) { limited.list_vaults(ListVaultsRequest.new) }
    assert_operator CbrGateway.now - began, :>, error.retry_delay / 2
    assert_raises(ArgumentError) { CbrGateway.retry_when_limited(Float::NAN) { flunk } }
    passed "quota"
  end

  def test_retry_large
    request = new_vault("ruby-large")
    request.vault.description = "x" * 1024 * 1024
    assert_equal "made", script.stub(VaultService).create_vault(request).vault.id
    passed "retry-large"
  end

  def test_retry_when_limited
    made = CbrGateway.retry_when_limited(30) { script.stub(VaultService).create_vault(new_vault("ruby-limited")) }
    assert_equal "made", made.vault.id
    assert_nil CbrGateway.request_id
    passed "retry-when-limited"
  end

  def test_watch
    vault = protected_vault("ruby-watch")
    backup = CreateCheckpointRequest.new(checkpoint: CheckpointSpec.new(vault_id: vault.id))
    submission = gateway.stub(CheckpointService).create_checkpoint(backup).submission
    filter = TaskFilter.new(submission_ids: [submission.id])
    restarted = nil
    ends = gateway.watch(WatchTasksRequest.new(filter: filter, end_when_all_terminal: true)).filter_map do |event|
      restarted ||= ask("/restart")
      event.terminal&.task&.status
    end
    assert_equal [:TASK_STATUS_SUCCEEDED], ends
    vaults.delete_vault(DeleteVaultRequest.new(vault_id: vault.id, force: true))
    passed "watch"
  end

  def test_resume
    played = script
    request = WatchTasksRequest.new(heartbeat_interval: Google::Protobuf::Duration.new(nanos: 200_000_000))
    assert_equal ENV.fetch("CBR_TEST_SCRIPT_SEEN"), played.watch(request).map { |event| told(event) }.join(", ")
    assert_empty request.resume_token, "the caller's own message has been changed"
    # No heartbeat that a gateway takes: it is the gateway that has to say so.
    endless = Google::Protobuf::Duration.new(seconds: 10**10)
    refused = WatchTasksRequest.new(filter: TaskFilter.new(vault_id: "refused"), heartbeat_interval: endless)
    error = failed(PERMISSION_DENIED) { played.watch(refused).first }
    assert_equal :ERROR_REASON_PROJECT_DENIED, error.reason
    passed "resume"
  end

  def test_wrong_key
    failed(UNAUTHENTICATED, "CREDENTIALS_INVALID", "API key") { vaults(api_key: "nobody's").list_vaults(ListVaultsRequest.new) }
    passed "wrong-key"
  end

  def test_wrong_ca
    stranger = vaults(authorities: File.read(ENV.fetch("CBR_TEST_OTHER_CA_FILE")))
    error = failed(UNAVAILABLE, "certificate", ADDRESS) { stranger.list_vaults(ListVaultsRequest.new) }
    assert_equal :untrusted, error.kind
    passed "wrong-ca"
  end

  def test_unreachable
    closed = ENV.fetch("CBR_TEST_CLOSED_ADDRESS")
    nobody = gateway(closed, authorities: nil, plaintext: true).stub(VaultService)
    error = failed(UNAVAILABLE, "cannot be reached", closed) { nobody.list_vaults(ListVaultsRequest.new) }
    assert_equal :unreachable, error.kind
    passed "unreachable"
  end

  def test_deadline
    ask "/fault", operation: "ListVault", kind: "delay", seconds: 4, times: "null"
    failed(DEADLINE_EXCEEDED, "deadline") { vaults.list_vaults(ListVaultsRequest.new, deadline: Time.now + 1) }
    TCPServer.open("127.0.0.1", 0) do |silent|
      call = gateway("127.0.0.1:#{silent.local_address.ip_port}", authorities: nil, plaintext: true).stub(VaultService)
      error = failed(DEADLINE_EXCEEDED, "deadline") { call.list_vaults(ListVaultsRequest.new, deadline: Time.now + 0.2) }
      assert_equal :deadline, error.kind
    end
    passed "deadline"
  ensure
    ask "/calm"
  end

  def test_what_the_block_of_a_watch_raises_is_the_callers
    [GRPC::Unavailable.new("another service"), CbrGateway::Error.new(GRPC::Unavailable.new("another gateway"))].each do |other|
      raised = false
      seen = assert_raises(GRPC::BadStatus) do
        gateway.watch do
          break if raised

          raised = true
          raise other
        end
      end
      assert_same other, seen
    end
  end

  # Were it one, the stream would be opened again and the first event told once more.
  def test_a_slow_block_is_no_silence
    handled = Queue.new
    stream = Class.new(TaskService::Service) do
      define_method(:watch_tasks) do |_request, _call|
        first = WatchTasksResponse.new(sequence: 1, heartbeat: WatchHeartbeat.new)
        over = StreamEnd.new(reason: :STREAM_END_REASON_ALL_TERMINAL)
        [-> { first }, -> { handled.pop && WatchTasksResponse.new(sequence: 2, stream_end: over) }].lazy.map(&:call)
      end
    end
    serving(stream) do |address|
      heartbeats = WatchTasksRequest.new(heartbeat_interval: Google::Protobuf::Duration.new(nanos: 100_000_000))
      told = 0
      gateway(address, authorities: nil, plaintext: true).watch(heartbeats) do
        told += 1
        break if told > 1

        sleep 1
        handled << true
      end
      assert_equal 1, told
    end
  end

  def test_close_ends_what_is_under_way
    own = gateway
    calls = own.stub(TaskService)
    events = Queue.new
    under_way = [
      -> { own.watch { |event| events << event } },
      -> { calls.watch_tasks(WatchTasksRequest.new).each { |event| events << event } }
    ].map { |call| Thread.new { failed(CANCELLED, "has been closed", &call) } }
    2.times { events.pop }
    GC.start
    own.close
    under_way.each { |thread| assert thread.join(5), "a call goes on" }
    failed(CANCELLED, "has been closed") { calls.list_tasks(ListTasksRequest.new) }
    failed(CANCELLED, "has been closed") { own.watch.first }
  end

  def test_close_ends_a_call_without_an_answer
    TCPServer.open("127.0.0.1", 0) do |silent|
      own = gateway("127.0.0.1:#{silent.local_address.ip_port}", authorities: nil, plaintext: true)
      calls = own.stub(VaultService)
      call = Thread.new { failed(CANCELLED, "has been closed") { calls.list_vaults(ListVaultsRequest.new) } }
      sleep 0.01 until call.stop?
      own.close
      assert call.join(5), "the call goes on"
    end
  end

  def test_secrets_are_not_shown
    { api_key: "se\ncret", project: "se cret" }.each do |option, value|
      message = assert_raises(ArgumentError) { CbrGateway.connect(ADDRESS, **{ option => value }) }.message
      assert_match(/\A#{option}: it must be of visible ASCII/, message)
      refute_match(/cret/, message)
    end
    message = assert_raises(ArgumentError) { vaults(api_key: nil, token: -> { "s\u00e9cret" }).list_vaults(ListVaultsRequest.new) }.message
    assert_match(/\Atoken: it must be of visible ASCII/, message)
    refute_match(/cret/, message)
    [gateway, vaults].each { |shown| refute_includes shown.inspect, KEY }
  end

  def test_only_a_bad_certificate_is_not_trusted
    kinds = ["SSL_ERROR_SSL: certificate verify failed", "Peer name a is not in peer certificate", "no such host certificates.example"].map do |details|
      CbrGateway::Error.new(GRPC::Unavailable.new(details), address: ADDRESS).kind
    end
    assert_equal %i[untrusted untrusted unreachable], kinds
  end

  # In a process of its own: threads of minitest would help this one to hear signals.
  def test_a_signal_ends_a_call
    TCPServer.open("127.0.0.1", 0) do |silent|
      call = "g.stub(CbrGateway::V1::VaultService).list_vaults(CbrGateway::V1::ListVaultsRequest.new)"
      script = "CbrGateway.connect('127.0.0.1:#{silent.local_address.ip_port}', plaintext: true) { |g| #{call} }"
      caller = spawn(RbConfig.ruby, "-rcbrgateway", "-e", script, err: File::NULL)
      silent.accept
      sleep 0.3 # By then it waits, and for long. Were it not so, the test would see less, and still pass.
      began = CbrGateway.now
      Process.kill(:TERM, caller)
      assert_equal Signal.list["TERM"], Process.wait2(caller).last.termsig
      assert_operator CbrGateway.now - began, :<, 10
    end
  end

  def test_details_that_cannot_be_read_tell_nothing
    broken = Google::Protobuf::Any.new(type_url: "type.googleapis.com/google.rpc.ErrorInfo", value: "\xff".b)
    unknown = Google::Protobuf::Any.new(type_url: "type.googleapis.com/google.rpc.Newer")
    status = Google::Rpc::Status.new(details: [broken, unknown])
    error = CbrGateway::Error.new(GRPC::NotFound.new("gone", { "grpc-status-details-bin" => status.to_proto }))
    assert_equal [:other, :NOT_FOUND, "gone"], [error.kind, error.code_name, error.message]
  end

  def test_options_that_cannot_work_are_refused
    {
      { api_key: "key", token: -> { "token" } } => /not both/,
      { plaintext: true, authorities: "" } => /leave out/,
      { authorities: "no certificate" } => /must be PEM/
    }.each do |options, words|
      assert_match words, assert_raises(ArgumentError) { CbrGateway.connect(ADDRESS, **options) }.message
    end
  end

  private

  # A server in this process.
  def serving(service)
    server = GRPC::RpcServer.new(pool_size: 2)
    port = server.add_http2_port("127.0.0.1:0", :this_port_is_insecure)
    server.handle(service)
    thread = Thread.new { server.run }
    yield "127.0.0.1:#{port}"
  ensure
    server.stop
    thread.join
  end

  # An event in words: its kind, and the revision of its task.
  def told(event)
    case event.event
    when :snapshot_task then "snapshot_task #{event.snapshot_task.revision}"
    when :update then "update #{event.update.task.revision}"
    when :terminal then "terminal #{event.terminal.task.revision}"
    else event.event.to_s
    end
  end
end
