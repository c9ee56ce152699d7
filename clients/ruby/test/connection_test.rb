# frozen_string_literal: true

require "json"
require "tmpdir"

require_relative "stage"

# How a gateway is reached, or not: certificates, what ends a call that was not answered, and interceptors.
class ConnectionTest < Minitest::Test
  include Stage

  MUTUAL = ENV.fetch("CBR_TEST_MUTUAL_ADDRESS")

  def test_client_certificate
    error = assert_raises(CbrGateway::Error) { list(MUTUAL) }
    assert_equal :unreachable, error.kind
    assert_includes error.message, "certificate: and key:"
    list(MUTUAL, **pair(""))
    from_files
    passed "client-certificate"
  end

  def test_addresses
    cases = JSON.parse(File.read(ENV.fetch("CBR_TEST_ADDRESSES")))
    refute_empty cases
    cases.map(&:values).each do |address, says|
      next CbrGateway.connect(address, plaintext: true).close if says.empty?

      error = assert_raises(ArgumentError, address) { CbrGateway.connect(address) }
      assert_equal "the address #{address.inspect} #{says}", error.message
    end
    passed "addresses"
  end

  def test_kinds
    other = ENV.fetch("CBR_TEST_SCRIPT_ADDRESS")
    kinds = {
      expired_certificate: -> { list(ENV.fetch("CBR_TEST_EXPIRED_ADDRESS")) },
      plaintext_expected: -> { list(other) },
      tls_expected: -> { list(ADDRESS, authorities: nil, plaintext: true) },
      untrusted: -> { list(ADDRESS, authorities: File.read(ENV.fetch("CBR_TEST_OTHER_CA_FILE"))) },
      unreachable: -> { list("nowhere.invalid:50051") }
    }
    kinds.each { |kind, call| assert_equal kind, failed(UNAVAILABLE, &call).kind }
    assert_includes failed(UNAVAILABLE, &kinds[:tls_expected]).message, "Leave out plaintext: true"
    assert_includes failed(UNAVAILABLE, &kinds[:plaintext_expected]).message, "plaintext: true"
    passed "kinds"
  end

  def test_an_error_has_what_to_repeat_with
    request = CreateVaultRequest.new(vault: VaultSpec.new(name: "ruby<>"), request_id: "ruby-broken")
    error = failed(INVALID_ARGUMENT, "FIELD_INVALID", "request_id ruby-broken") { vaults.create_vault(request) }
    assert_includes error.message, "call #{error.call_id}"
    assert_operator error.fields.size, :>, 1
    error.fields.each { |field| assert_includes error.message, field[:field] }
  end

  def test_interceptors_and_channel_arguments
    seen = []
    spy = Class.new(GRPC::ClientInterceptor) do
      define_method(:initialize) { |name| super(name: name) }
      define_method(:request_response) do |request:, metadata:, **, &call|
        seen << [@options[:name], request.respond_to?(:request_id) && request.request_id, metadata["authorization"]]
        metadata["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        call.call
      end
    end
    own = gateway(interceptors: [spy.new("first"), spy.new("second")], channel_args: { "grpc.max_receive_message_length" => 1 })
    assert_equal :RESOURCE_EXHAUSTED, assert_raises(CbrGateway::Error) { own.stub(VaultService).list_vaults(ListVaultsRequest.new) }.code_name
    assert_equal(%w[first second], seen.map(&:first))
    assert_equal ["Bearer #{KEY}"], seen.map(&:last).uniq
    assert_raises(CbrGateway::Error) { own.stub(VaultService).create_vault(CreateVaultRequest.new) }
    refute_empty seen.last[1]
  end

  def test_options_that_do_not_go_together_are_refused
    strangers_key = pair("OTHER_")[:key]
    {
      { certificate: pair("")[:certificate] } => /give both/,
      { **pair(""), key: strangers_key } => /do not belong together/,
      { **pair(""), key: "none" } => /no private key/,
      { **pair(""), certificate_file: "file" } => /certificate and certificate_file/,
      { **pair(""), plaintext: true } => /leave out/,
      { **pair(""), credentials: GRPC::Core::ChannelCredentials.new } => /leave out/
    }.each { |options, words| assert_match words, assert_raises(ArgumentError) { CbrGateway.connect(ADDRESS, **options) }.message }
    own = GRPC::Core::ChannelCredentials.new(File.read(ENV.fetch("CBR_TEST_CA_FILE")), *pair("").values_at(:key, :certificate))
    CbrGateway.connect(MUTUAL, credentials: own) { |made| made.stub(VaultService).list_vaults(ListVaultsRequest.new(name: "pages")) }
  end

  private

  # What is in the files when a connection is made counts.
  def from_files
    Dir.mktmpdir do |folder|
      files = { certificate_file: File.join(folder, "certificate"), key_file: File.join(folder, "key") }
      write = ->(given) { files.values.zip(given.values_at(:certificate, :key)) { |file, pem| File.write(file, pem) } }
      write.call(pair("OTHER_"))
      assert_raises(CbrGateway::Error) { list(MUTUAL, **files) }
      write.call(pair(""))
      list(MUTUAL, **files)
    end
  end

  def pair(which)
    { certificate: File.read(ENV.fetch("CBR_TEST_#{which}CERTIFICATE_FILE")), key: File.read(ENV.fetch("CBR_TEST_#{which}KEY_FILE")) }
  end

  def list(address, **options)
    gateway(address, **options).stub(VaultService).list_vaults(ListVaultsRequest.new(name: "pages"))
  end
end
