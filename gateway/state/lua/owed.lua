-- [[key, rate_per_s, burst], ...] -> units owed by each bucket as text; the same algorithm as in take.lua.
local found = {}
for index, bucket in ipairs(cjson.decode(ARGV[1])) do
  local name, rate, burst = unpack(bucket)
  local units, since, old_rate = string.match(redis.call('GET', at('debt:' .. name)) or '', '^(%S+) (%S+) (%S+)$')
  local owed = units and math.max(units - math.max(now - since, 0) * math.max(old_rate, rate), 0) or 0
  found[index] = exact(math.min(owed, burst))
end
return found
