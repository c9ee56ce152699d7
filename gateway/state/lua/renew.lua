-- holder, ttl_s, keys... -> 1 if all leases were still held
local holder, ttl_s, held = ARGV[1], tonumber(ARGV[2]), 1
for index = 3, #ARGV do
  local key = at('lease:' .. ARGV[index])
  local until_time = redis.call('ZSCORE', key, holder)
  if until_time and tonumber(until_time) > now then
    redis.call('ZADD', key, exact(now + ttl_s), holder)
    if redis.call('PTTL', key) < ttl_s * 1000 then redis.call('PEXPIRE', key, whole(math.ceil(ttl_s * 1000))) end
  else
    held = 0
  end
end
return held
