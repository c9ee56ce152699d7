# frozen_string_literal: true

require "json"

require_relative "stage"

# Messages are read as every other language reads them, and written back to the same bytes.
class VectorsTest < Minitest::Test
  include CbrGateway::V1
  include Stage

  def test_vectors
    vectors = JSON.parse(File.read(ENV.fetch("CBR_TEST_VECTORS")))
    refute_empty vectors
    vectors.each do |vector|
      message = CbrGateway::V1.const_get(vector["message"])
      bytes = vector["base64"].unpack1("m")
      read = message.decode(bytes)
      assert_equal vector["facts"], facts(read).slice(*vector["facts"].keys), vector["name"]
      assert_equal bytes, message.encode(read), vector["name"]
    end
    passed "vectors"
  end

  private

  # What is found in a message, as text.
  def facts(message)
    found =
      case message
      when Task then task_facts(message)
      when CheckpointResource then { "backup_size_mib" => message.backup_size_mib }
      when ListVaultsResponse
        last = message.vaults.to_a.last
        { "count" => message.vaults.size, "last_id" => last.id, "last_used_mib" => last.billing.used_mib }
      end
    found.transform_values(&:to_s)
  end

  def task_facts(task)
    common = task.details&.common
    {
      "type" => task.type_const, "type_raw" => task.type_raw, "status" => task.status_const,
      "progress_percent" => common&.has_progress_percent? ? common.progress_percent : "unset",
      "start_seconds" => task.start_time&.seconds, "start_nanos" => task.start_time&.nanos,
      "end_time" => task.end_time ? task.end_time.seconds : "unset"
    }
  end
end
