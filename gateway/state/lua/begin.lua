-- epoch, id, tenant, rpc, request_id, fingerprint, charges, ttl_s, detail, ledger name, keep_ms, topic
local epoch, id, tenant, rpc, request_id, fingerprint, charges, ttl_s, detail, ledger_name, keep_ms, topic = unpack(ARGV)
if redis.call('GET', at('epoch')) ~= epoch then return {'emptied'} end
if redis.call('EXISTS', operation_at(id)) == 1 then return {'admitted'} end
while expire_reserved(100, keep_ms) == 100 do end

local ledger = ''
if request_id ~= '' then
  ledger = at('ledger:' .. ledger_name)
  local holder = redis.call('GET', ledger)
  local known = holder and redis.call('HMGET', operation_at(holder), 'fingerprint', 'state', 'response')
  if known and known[1] then
    if known[1] ~= fingerprint then return {'mismatch'} end
    if known[2] ~= 'COMMITTED' then return {'in_progress', holder} end
    return {'replay', known[3]}
  end
end

-- Rows of the answer: index of the charge, committed, reserved.
local refused, noted = {}, {}
for index, charge in ipairs(cjson.decode(charges)) do
  local name, amount, limit, shadow, expires_at = unpack(charge)
  if limit ~= cjson.null then
    local used = {false, false}
    if expires_at == cjson.null or expires_at > now then used = redis.call('HMGET', counter_at(name), 'committed', 'reserved') end
    local committed, reserved = tonumber(used[1] or '0'), tonumber(used[2] or '0')
    if committed + reserved + amount > limit then
      table.insert(shadow and noted or refused, {index - 1, whole(committed), whole(reserved)})
    end
  end
end
if #refused > 0 then return {'refused', refused} end

redis.call('HSET', operation_at(id), 'tenant', tenant, 'rpc', rpc, 'request_id', request_id, 'fingerprint', fingerprint, 'state', 'RESERVED',
  'charges', charges, 'detail', detail, 'ledger', ledger, 'resource_id', '', 'created_at', exact(now))
redis.call('ZADD', at('open'), exact(now), id)
redis.call('ZADD', at('deadlines'), exact(now + tonumber(ttl_s)), id)
if topic ~= '' then
  redis.call('ZADD', at('topic:' .. topic), exact(now), id)
  redis.call('HSET', at('topics'), id, topic)
  note_change(id)
end
if ledger ~= '' then redis.call('SET', ledger, id) end
move_counters(charges, 'ABSENT', 'RESERVED')
return {'admitted', noted}
