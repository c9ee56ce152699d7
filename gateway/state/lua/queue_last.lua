-- queue -> no row or one of (position, key, value)
local found = redis.call('ZREVRANGE', at('queue:' .. ARGV[1]), 0, 0, 'WITHSCORES')
if not found[1] then return {} end
return {{found[2], found[1], redis.call('HGET', at('queue_values:' .. ARGV[1]), found[1])}}
