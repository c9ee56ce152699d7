-- id, note, before -> 1 when the note is now `note`
local id, note, before = ARGV[1], ARGV[2], ARGV[3]
local known = redis.call('HMGET', operation_at(id), 'state', 'note')
local stands = known[2] or ''
if not known[1] or (stands ~= before and stands ~= note) then return 0 end
redis.call('HSET', operation_at(id), 'note', note)
note_change(id)
return 1
