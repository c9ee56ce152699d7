-- [[key, rate_per_s, burst, cost, shadow], ...] -> {wait in seconds, units owed} of each bucket as text; the same algorithm as gcra.py.
-- A debt is kept as "units at rate"; `bucket:` holds what version 0.1.0 left: the time at which the bucket is full.
local rows, before, after, refused = {}, {}, {}, false
local buckets = cjson.decode(ARGV[1])
for index, bucket in ipairs(buckets) do
  local name, rate, burst, cost, shadow = unpack(bucket)
  local units, since, old_rate = string.match(redis.call('GET', at('debt:' .. name)) or '', '^(%S+) (%S+) (%S+)$')
  local owed = 0
  if units then owed = math.max(units - math.max(now - since, 0) * math.max(old_rate, rate), 0) end
  local full_at = redis.call('GET', at('bucket:' .. name))
  if full_at then
    owed = owed + math.max(full_at - now, 0) * rate
    redis.call('DEL', at('bucket:' .. name))
  end
  owed = math.min(owed, burst)
  local wait = (owed + cost - burst) / rate
  -- Below a microsecond it is rounding, not waiting.
  if wait < 1e-6 then wait = 0 end
  if cost > burst then wait = math.huge end
  if wait > 0 and not shadow then refused = true end
  before[index], after[index] = owed, wait > 0 and owed or owed + cost
  rows[index] = {wait == math.huge and 'inf' or exact(wait)}
end
for index, bucket in ipairs(buckets) do
  local owed, rate = refused and before[index] or after[index], bucket[2]
  rows[index][2] = exact(owed)
  local left_ms = math.ceil(owed / rate * 1000)
  if left_ms > 0 then redis.call('SET', at('debt:' .. bucket[1]), exact(owed) .. ' ' .. exact(now) .. ' ' .. exact(rate), 'PX', whole(left_ms)) end
end
return rows
