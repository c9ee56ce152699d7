-- fence, counts [[key, counted], ...], seen ids, settle_s, totals [[key, [part, ...], assumed], ...]
local fence = tonumber(ARGV[1])
local seen, counted, late = {}, cjson.decode(ARGV[2]), {}
-- A listing that began before the data were lost, all of them or the last.
if #counted > 0 and (fence < number_at('first') or fence > number_at('sequence')) then return {'emptied'} end
for _, id in ipairs(cjson.decode(ARGV[3])) do seen[id] = true end
for _, pair in ipairs(counted) do late[pair[1]] = 0 end

-- What was committed so lately that the listing may not show it.
local function add(ids)
  for _, id in ipairs(ids) do
    local known = redis.call('HMGET', operation_at(id), 'state', 'resource_id', 'charges')
    if known[1] == 'COMMITTED' and not seen[id] and not seen[known[2]] then
      for _, charge in ipairs(cjson.decode(known[3])) do
        local name = charge[1]
        if late[name] and redis.call('EXISTS', adjustment_at(known[2], name)) == 0 then late[name] = late[name] + charge[2] end
      end
    end
    seen[id] = true
  end
end
if #counted > 0 then
  add(redis.call('ZRANGEBYSCORE', at('commits'), '(' .. ARGV[1], '+inf'))
  add(redis.call('ZRANGEBYSCORE', at('settled'), '(' .. exact(now - tonumber(ARGV[4])), '+inf'))
end

for _, pair in ipairs(counted) do
  local counter = counter_at(pair[1])
  if tonumber(redis.call('HGET', counter, 'counted_fence') or '0') < fence then
    redis.call('HSET', counter, 'committed', whole(pair[2] + late[pair[1]]), 'counted_at', exact(now), 'counted_fence', ARGV[1])
  end
end

for _, total in ipairs(cjson.decode(ARGV[5])) do
  local sum, oldest, newest = {committed = 0, reserved = 0, uncertain = 0}, nil, 0
  for _, part in ipairs(total[2]) do
    local known = redis.call('HMGET', counter_at(part), 'committed', 'reserved', 'uncertain', 'counted_at', 'counted_fence')
    sum.committed = sum.committed + tonumber(known[1] or '0') + (known[4] and 0 or total[3])
    sum.reserved, sum.uncertain = sum.reserved + tonumber(known[2] or '0'), sum.uncertain + tonumber(known[3] or '0')
    if known[4] then oldest = math.min(oldest or math.huge, tonumber(known[4])) end
    newest = math.max(newest, tonumber(known[5] or '0'))
  end
  for field, amount in pairs(sum) do redis.call('HSET', counter_at(total[1]), field, whole(amount)) end
  redis.call('HSET', counter_at(total[1]), 'counted_fence', whole(newest))
  if oldest then redis.call('HSET', counter_at(total[1]), 'counted_at', exact(oldest)) end
end
