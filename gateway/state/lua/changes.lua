-- topic, life, after -> {life, newest, ids}: what has changed since, of the same life of the data, else all; `newest`: what to ask after next
local topic, life, after = unpack(ARGV)
-- Another run of the server may have come back without its last writes.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local life_now = (redis.call('GET', at('epoch')) or '') .. '.' .. run
local newest = redis.call('GET', at('sequence')) or '0'
if life == life_now then return {life_now, newest, redis.call('ZRANGEBYSCORE', at('changes:' .. topic), '(' .. after, '+inf')} end
return {life_now, newest, redis.call('ZRANGE', at('topic:' .. topic), 0, -1)}
