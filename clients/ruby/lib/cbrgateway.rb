# frozen_string_literal: true

require "grpc"
require "google/protobuf/well_known_types"
require "securerandom"
Dir[File.join(__dir__, "cbrgateway", "v1", "*_pb.rb")].each { |file| require file }

require_relative "cbrgateway/error"
require_relative "cbrgateway/gateway"
require_relative "cbrgateway/pages"

# Connects to a CBR Gateway and does what every caller needs and what is easy to get wrong: calls have deadlines, calls are repeated only where that
# is safe, and errors say what to do. The API itself is the generated module {V1}.
#
#   gateway = CbrGateway.connect("gateway.example.com:50051", api_key: key)
#   vaults = gateway.stub(CbrGateway::V1::VaultService)
module CbrGateway
  # Makes a connection, and closes it after the block if there is one. Nothing is sent before the first call.
  #
  # @param (see Gateway#initialize)
  # @return [Gateway, Object] what the block returns, if there is one
  # @yieldparam gateway [Gateway]
  def self.connect(address, **options)
    gateway = Gateway.new(address, **options)
    return gateway unless block_given?

    begin
      yield gateway
    ensure
      gateway.close
    end
  end

  # @return [Numeric] the seconds
  # @raise [ArgumentError] for what is no number: no time would be later
  # @api private
  def self.number(name, seconds)
    raise ArgumentError, "#{name}: it is not a number" if !seconds.is_a?(Numeric) || seconds.to_f.nan?

    seconds
  end

  # Makes a call, and again after the delay that the gateway asks for, as long as a limit of the gateway refuses it and the time allows.
  #
  # The block makes one change at most: all tries have the same request_id, the request's own or one that is made here. Where the answer of a try was
  # lost before a limit refused its repeat, the gateway knows the change again by it, and does not make it twice.
  #
  # @param seconds [Numeric] the time for all of it
  # @yield the call
  # @return what the block returns
  def self.retry_when_limited(seconds)
    ends_at = now + number("seconds", seconds)
    outer = request_id
    Thread.current[:cbrgateway_request_id] ||= SecureRandom.uuid
    begin
      yield
    rescue Error => e
      refused = e.code == GRPC::Core::StatusCodes::RESOURCE_EXHAUSTED && e.retry_delay&.positive?
      raise if !refused || now + e.retry_delay > ends_at

      sleep e.retry_delay
      retry
    ensure
      Thread.current[:cbrgateway_request_id] = outer
    end
  end

  # @api private
  # @return [String, nil] the id of the change that {retry_when_limited} makes
  def self.request_id
    Thread.current[:cbrgateway_request_id]
  end

  # @api private
  def self.now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
