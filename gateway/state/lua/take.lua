-- [[key, rate_per_s, burst, cost, shadow], ...] -> {wait, reset} of each bucket as text; the same algorithm as gcra.py, in seconds
local rows, before, after, refused = {}, {}, {}, false
local buckets = cjson.decode(ARGV[1])
for index, bucket in ipairs(buckets) do
  local name, rate, burst, cost, shadow = unpack(bucket)
  local full = math.max(tonumber(redis.call('GET', at('bucket:' .. name)) or '0'), now)
  local taken = full + cost / rate
  local wait = taken - burst / rate - now
  -- Below a microsecond it is rounding, not waiting.
  if wait < 1e-6 then wait = 0 end
  if cost > burst then wait = math.huge end
  if wait > 0 and not shadow then refused = true end
  before[index], after[index] = full, wait > 0 and full or taken
  rows[index] = {wait == math.huge and 'inf' or exact(wait)}
end
for index, bucket in ipairs(buckets) do
  local full = refused and before[index] or after[index]
  rows[index][2] = exact(full - now)
  local left_ms = math.ceil((full - now) * 1000)
  if not refused and left_ms > 0 then redis.call('SET', at('bucket:' .. bucket[1]), exact(full), 'PX', whole(left_ms)) end
end
return rows
