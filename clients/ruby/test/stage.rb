# frozen_string_literal: true

# `ruby -w` looks at the libraries, too. A warning of our own code is an error.
module Warning
  def self.warn(message, **)
    raise message if message.match?(/cbrgateway|_test/)
  end
end

require "cbrgateway"
require "fileutils"
require "minitest/autorun"
require "net/http"

# What all tests need of the frame.
module Stage
  include CbrGateway::V1
  include GRPC::Core::StatusCodes

  ADDRESS = ENV.fetch("CBR_TEST_ADDRESS")
  KEY = ENV.fetch("CBR_TEST_API_KEY")

  def teardown
    @gateways&.each(&:close)
  end

  # A test that gets here has passed its check.
  def passed(check)
    FileUtils.touch(File.join(ENV.fetch("CBR_TEST_RESULTS"), check))
  end

  # Tells the stage what to do.
  def ask(path, **query)
    answer = Net::HTTP.post(URI("#{ENV.fetch('CBR_TEST_CONTROL')}#{path}?#{URI.encode_www_form(query)}"), "")
    assert_kind_of Net::HTTPOK, answer, answer.body
    answer.body
  end

  def gateway(address = ADDRESS, **options)
    trusted = { api_key: KEY, authorities: File.read(ENV.fetch("CBR_TEST_CA_FILE")) }
    CbrGateway.connect(address, **trusted, **options).tap { |made| (@gateways ||= []) << made }
  end

  # The server that plays a script.
  def script
    gateway(ENV.fetch("CBR_TEST_SCRIPT_ADDRESS"), authorities: nil, plaintext: true)
  end

  def vaults(**options)
    gateway(**options).stub(VaultService)
  end

  # The error of a call that must fail with this code, and with these words in its text.
  def failed(code, *words, &call)
    error = assert_raises(CbrGateway::Error, &call)
    assert_equal code, error.code, error.message
    words.each { |word| assert_includes error.message, word }
    error
  end

  def new_vault(name, **more)
    billing = BillingSpec.new(
      size_gib: 200,
      object_type: :OBJECT_TYPE_SERVER,
      protect_type: :PROTECT_TYPE_BACKUP,
      consistent_level: :CONSISTENT_LEVEL_CRASH_CONSISTENT
    )
    CreateVaultRequest.new(vault: VaultSpec.new(name: name, billing: billing, **more))
  end

  # A vault that holds a server.
  def protected_vault(name)
    servers = ListProtectablesRequest.new(protectable_type: :PROTECTABLE_TYPE_SERVER)
    server = gateway.stub(ProtectabilityService).list_protectables(servers).instances.first
    vaults.create_vault(new_vault(name, resources: [ResourceRef.new(id: server.id, type: server.type)])).vault
  end
end
