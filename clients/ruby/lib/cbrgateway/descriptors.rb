# frozen_string_literal: true

require "google/protobuf/descriptor_pb"
require "set"

module CbrGateway
  # The API's own descriptors, for what Ruby's generated code leaves out.
  # @api private
  module Descriptors
    FILES = Google::Protobuf::FileDescriptorSet.decode(File.binread(File.join(__dir__, "api.binpb"))).file

    # Paths of the RPCs that change nothing. The generated code does not tell them from the others.
    READS = FILES.flat_map do |file|
      file.service.flat_map do |service|
        reads = service["method"].select { |rpc| rpc.options&.idempotency_level == :NO_SIDE_EFFECTS }
        reads.map { |rpc| "/#{file.package}.#{service.name}/#{rpc.name}" }
      end
    end.to_set.freeze

    # Google's messages as the gateway sends them. Those of the gem that gRPC brings may be older, and lose fields such as quota_metric; so these have a
    # pool of their own.
    DETAILS = Google::Protobuf::DescriptorPool.new.tap do |pool|
      FILES.each { |file| pool.add_serialized_file(Google::Protobuf::FileDescriptorProto.encode(file)) if file.name.start_with?("google/") }
    end

    # @param packed [Google::Protobuf::Any]
    # @return [Hash{Symbol => Object}, nil] what is in it; nil where that is not known, or cannot be read
    def self.unpack(packed)
      DETAILS.lookup(packed.type_name)&.msgclass&.decode(packed.value)&.to_h
    rescue Google::Protobuf::ParseError
      nil
    end
  end
end
