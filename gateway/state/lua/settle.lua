-- id, the event's row of the transition table, keep_ms, resource_id, note, and the response unless there is none to keep -> the state afterwards
local id, row, keep_ms = ARGV[1], cjson.decode(ARGV[2]), ARGV[3]
local state = redis.call('HGET', operation_at(id), 'state') or 'ABSENT'
-- Of a state that only another version knows nothing follows.
local target = row[state] or state
if target ~= state then
  if target == 'COMMITTED' then
    redis.call('HSET', operation_at(id), 'resource_id', ARGV[4])
    if ARGV[5] ~= '' then redis.call('HSET', operation_at(id), 'note', ARGV[5]) end
    if ARGV[6] then redis.call('HSET', operation_at(id), 'response', ARGV[6]) end
    redis.call('ZADD', at('commits'), redis.call('INCR', at('sequence')), id)
  end
  move(id, state, target, keep_ms)
end
return target
