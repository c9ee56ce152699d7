-- fence, counts [[key, counted], ...], seen ids
local fence = tonumber(ARGV[1])
local seen, late = {}, {}
for _, id in ipairs(cjson.decode(ARGV[3])) do seen[id] = true end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', at('commits'), '(' .. ARGV[1], '+inf')) do
  local known = redis.call('HMGET', operation_at(id), 'resource_id', 'charges')
  if known[2] and not seen[known[1]] then
    for _, charge in ipairs(cjson.decode(known[2])) do late[charge[1]] = (late[charge[1]] or 0) + charge[2] end
  end
end
for _, pair in ipairs(cjson.decode(ARGV[2])) do
  local counter = counter_at(pair[1])
  if tonumber(redis.call('HGET', counter, 'counted_fence') or '0') < fence then
    redis.call('HSET', counter, 'committed', whole(pair[2] + (late[pair[1]] or 0)), 'counted_at', exact(now), 'counted_fence', ARGV[1])
  end
end
