-- Stands before every script. KEYS[1] is the store's base key, `{prefix}`; every other key is derived from it and so lies in the same hash slot.
-- Time is the server's: clocks of clients play no part. Amounts are whole numbers below 2^53, which a Lua number holds exactly.
local base = KEYS[1]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

local function at(name) return base .. ':' .. name end
-- Adding 0 turns the -0 of a product into 0, which the server takes for a number.
local function whole(number) return string.format('%.0f', number + 0) end
local function exact(number) return string.format('%.17g', number) end
local function operation_at(id) return at('operation:' .. id) end
local function number_at(name) return tonumber(redis.call('GET', at(name)) or '0') end
local function counter_at(name) return at('counter:' .. name) end

local function adjustment_at(resource, name) return at('adjustment:' .. cjson.encode({resource, name})) end

local function run_id() return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') end

-- Names this life of the data. Another run of the server may have come back without its last writes, and a replica never had them.
local function life() return (redis.call('GET', at('epoch')) or '') .. '.' .. run_id() end

-- What a process sent that was there, such a run may have forgotten, until that process has told it anew.
local function notice_restart()
  local run, before = run_id(), redis.call('GET', at('run'))
  if run == before then return end
  redis.call('MSET', at('run'), run, at('restarted'), exact(now))
  if before then
    redis.call('SUNIONSTORE', at('silent'), at('silent'), at('members'))
    redis.call('EXPIRE', at('silent'), 3600)
  end
end

local OPEN = {RESERVED = 1, SENT = 1, UNKNOWN = 1}

-- Charges are kept as the JSON that the client sent: [[key, amount, limit, shadow, expires_at], ...]
local function move_counters(charges, from, to)
  local moves = {
    committed = (to == 'COMMITTED' and 1 or 0) - (from == 'COMMITTED' and 1 or 0),
    reserved = (OPEN[to] or 0) - (OPEN[from] or 0),
    uncertain = (to == 'UNKNOWN' and 1 or 0) - (from == 'UNKNOWN' and 1 or 0),
  }
  for _, charge in ipairs(cjson.decode(charges)) do
    local name, amount, expires_at = charge[1], charge[2], charge[5]
    -- A counter that was forgotten took the reservation with it.
    if expires_at == cjson.null or expires_at > now then
      for field, times in pairs(moves) do
        if times ~= 0 then redis.call('HINCRBY', counter_at(name), field, whole(times * amount)) end
      end
      if expires_at ~= cjson.null then redis.call('PEXPIREAT', counter_at(name), whole(expires_at * 1000)) end
    end
  end
end

-- An operation that had ended without effect counts after all. Its request_id is its own again, unless a repeat has it by now.
local function reopen(id, key, ledger, created_at)
  redis.call('PERSIST', key)
  redis.call('ZREM', at('settled'), id)
  redis.call('ZADD', at('open'), created_at, id)
  if ledger == '' or redis.call('SET', ledger, id, 'NX') then return ledger end
  redis.call('HSET', key, 'ledger', '', 'request_id', '')
  return ''
end

-- Lets `changes` tell of an operation.
local function note_change(id)
  local topic = redis.call('HGET', at('topics'), id)
  if topic then redis.call('ZADD', at('changes:' .. topic), redis.call('INCR', at('sequence')), id) end
end

-- Moves an operation on. Settled ones stay for `keep_ms`, so that their answers can be replayed.
local function move(id, from, to, keep_ms)
  local key = operation_at(id)
  local known = redis.call('HMGET', key, 'charges', 'ledger', 'created_at')
  move_counters(known[1], from, to)
  redis.call('HSET', key, 'state', to)
  note_change(id)
  if from == 'RESERVED' then redis.call('ZREM', at('deadlines'), id) end
  if not OPEN[from] then known[2] = reopen(id, key, known[2], known[3]) end
  if OPEN[to] then return end
  redis.call('ZREM', at('open'), id)
  redis.call('ZADD', at('settled'), exact(now), id)
  redis.call('PEXPIRE', key, keep_ms)
  if known[2] ~= '' then
    if to == 'COMMITTED' then redis.call('PEXPIRE', known[2], keep_ms) else redis.call('DEL', known[2]) end
  end
end

local function expire_reserved(most, keep_ms)
  local due = redis.call('ZRANGEBYSCORE', at('deadlines'), '-inf', exact(now), 'LIMIT', 0, most)
  for _, id in ipairs(due) do move(id, 'RESERVED', 'EXPIRED', keep_ms) end
  return #due
end
