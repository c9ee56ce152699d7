# frozen_string_literal: true

require "cbrgateway"

# The life of a backup: a vault for a server, a backup, a restore, and nothing left behind.
class Story
  include CbrGateway::V1

  def initialize(gateway)
    @gateway = gateway
    @vaults = gateway.stub(VaultService)
    @backups = gateway.stub(BackupService)
  end

  def tell
    server = free_server
    vault = @vaults.create_vault(CreateVaultRequest.new(vault: vault_for(server))).vault
    puts "vault #{vault.id} holds #{server.name}"

    request = CreateCheckpointRequest.new(checkpoint: CheckpointSpec.new(vault_id: vault.id))
    made = finish("backup") { @gateway.stub(CheckpointService).create_checkpoint(request) }
    backup = @backups.list_backups(ListBackupsRequest.new(checkpoint_id: made.checkpoint.id)).backups.first
    puts "backup #{backup.id}"

    restore = RestoreBackupRequest.new(backup_id: backup.id, restore: RestoreSpec.new(server_id: server.id))
    finish("restore") { @backups.restore_backup(restore) }
    finish("deletion") { @vaults.delete_vault(DeleteVaultRequest.new(vault_id: vault.id, force: true)) }
  end

  private

  def free_server
    servers = ListProtectablesRequest.new(protectable_type: :PROTECTABLE_TYPE_SERVER)
    found = CbrGateway.rows(@gateway.stub(ProtectabilityService).method(:list_protectables), servers)
    found.find { |server| server.protectable.result && !server.protectable.vault } || raise("no server is free")
  end

  def vault_for(server)
    billing = BillingSpec.new(
      size_gib: 200,
      object_type: :OBJECT_TYPE_SERVER,
      protect_type: :PROTECT_TYPE_BACKUP,
      consistent_level: :CONSISTENT_LEVEL_CRASH_CONSISTENT
    )
    VaultSpec.new(name: "ruby-example", billing: billing, resources: [ResourceRef.new(id: server.id, type: server.type)])
  end

  # Makes a change, and waits for what it starts.
  def finish(title, &change)
    answer, ended = @gateway.run_and_wait(timeout: 120, &change)
    ended.skipped.each { |left| puts "#{title} skipped by CBR: #{left.id} #{left.code} #{left.reason}" }
    ended.tasks.each { |task| puts "#{title} #{task.status}" }
    answer
  end
end

authorities = ENV["CBR_CA_FILE"]&.then { |file| File.read(file) }
begin
  CbrGateway.connect(ENV.fetch("CBR_ADDRESS"), api_key: ENV.fetch("CBR_API_KEY"), authorities: authorities, plaintext: !authorities) do |gateway|
    Story.new(gateway).tell
  end
rescue CbrGateway::TaskFailed, CbrGateway::Error => e
  abort e.message
end
