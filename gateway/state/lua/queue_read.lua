-- queue, after, most -> rows of (position, key, value)
local found = redis.call('ZRANGEBYSCORE', at('queue:' .. ARGV[1]), '(' .. ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local rows = {}
for i = 1, #found, 2 do
  rows[#rows + 1] = {found[i + 1], found[i], redis.call('HGET', at('queue_values:' .. ARGV[1]), found[i])}
end
return rows
