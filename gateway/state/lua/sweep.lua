-- most, keep_ms -> {reservations ended, settled operations dropped from the indexes}; the operations themselves end by their own expiry
local most, keep_ms = ARGV[1], ARGV[2]
local old = redis.call('ZRANGEBYSCORE', at('settled'), '-inf', exact(now - tonumber(keep_ms) / 1000), 'LIMIT', 0, most)
for _, id in ipairs(old) do
  redis.call('ZREM', at('settled'), id)
  redis.call('ZREM', at('commits'), id)
  local topic = redis.call('HGET', at('topics'), id)
  if topic then
    redis.call('ZREM', at('topic:' .. topic), id)
    redis.call('ZREM', at('changes:' .. topic), id)
    redis.call('HDEL', at('topics'), id)
  end
end
return {expire_reserved(most, keep_ms), #old}
