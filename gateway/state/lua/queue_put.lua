-- queue, key, value, most -> rows of (position, key, value) that were taken out at the beginning
local order, values = at('queue:' .. ARGV[1]), at('queue_values:' .. ARGV[1])
if redis.call('HSETNX', values, ARGV[2], ARGV[3]) == 0 then return {} end
redis.call('ZADD', order, redis.call('INCR', at('queue_sequence')), ARGV[2])
local taken, over = {}, redis.call('ZCARD', order) - tonumber(ARGV[4])
for _ = 1, over do
  local first = redis.call('ZPOPMIN', order)
  taken[#taken + 1] = {first[2], first[1], redis.call('HGET', values, first[1])}
  redis.call('HDEL', values, first[1])
end
return taken
