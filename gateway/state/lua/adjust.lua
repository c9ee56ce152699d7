-- key, delta, resource id, since ('' for none), keep_ms; 0 where a recount came between
local counter, delta, since = counter_at(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
if not redis.call('SET', adjustment_at(ARGV[3], ARGV[1]), '1', 'NX', 'PX', ARGV[5]) then return 1 end
local known = redis.call('HMGET', counter, 'committed', 'counted_fence')
if delta < 0 and since and tonumber(known[2] or '0') > since then return 0 end
redis.call('HSET', counter, 'committed', whole(math.max(0, tonumber(known[1] or '0') + delta)))
return 1
